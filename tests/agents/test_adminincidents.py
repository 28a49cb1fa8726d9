"""The list of incidents in the admin: what it shows, how they are found, and what is done to many at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.models import CrewRun, ModelCall, Step
from incidents import finding, services
from incidents.models import Event, Incident, Rating, Verdict
from tests.agents.rows import a_run, an_action
from tests.incidents.rows import a_target, an_episode, an_incident

pytestmark = pytest.mark.django_db
LIST = "/admin/incidents/incident/"


def shown(root: Client, query: str = "") -> list[int]:
    """Keys of the incidents in the list, in its order."""
    answer = root.get(f"{LIST}?{query}")
    assert answer.status_code == 200, answer
    return [row.pk for row in answer.context["cl"].result_list]


def form(**changes: str) -> dict[str, str]:
    """An incident's page as a browser sends it back, with its inlines."""
    prefixes = ("actions", "runs", "episodes", "events", "notifications")
    management = {f"{prefix}-{name}": "0" for prefix in prefixes for name in ("TOTAL_FORMS", "INITIAL_FORMS")}
    return {"human_cause": "", "human_note": "", "diagnosis": "", "line": "", **management, **changes}


def hidden(page: Any) -> dict[str, str]:
    """What an incident's page sends back of what it showed."""
    shown = [field for field in page.context["adminform"].form if field.field.show_hidden_initial]
    assert all(f'name="{field.html_initial_name}"' in page.content.decode() for field in shown)
    form = page.context["adminform"].form
    return {
        field.html_initial_name: form.data.get(field.html_initial_name, field.initial or "")
        for field in shown
    }


def bob_writes(incident: Incident) -> None:
    services.annotate(incident, by="bob", cause="the cat", note="seen\nit")
    services.rate(incident, by="bob", rating=Rating.WRONG)


def words(incident: Incident) -> tuple[str, str, str | None]:
    return incident.human_cause, incident.human_note, incident.rating


def choose(root: Client, what: str, *rows: Incident, **more: Any) -> list[str]:
    """Run an action on incidents; what it says."""
    root.get("/admin/")  # shows, and so forgets, what was said before
    data = {"action": what, "_selected_action": [row.pk for row in rows], **more}
    return [str(message) for message in get_messages(root.post(LIST, data).wsgi_request)]


def test_a_row_says_how_it_stands_and_what_it_cost(root: Client) -> None:
    incident = an_incident(Verdict.RELAPSED, seconds=137, target=a_target())
    a_run(incident)
    ModelCall.objects.update(cost_usd="0.03")
    page = root.get(LIST).content.decode()
    for text in (
        f"#{incident.pk} ServiceDown",
        '<span class="label tone-bad">critical</span>',
        '<span class="label tone-bad">Relapsed</span>',
        "Needs you: came back",
        "docker:docker2/jellyfin",
        "2m",
        "$0.03",
    ):
        assert text in page


def test_what_is_left_to_people_says_so_in_the_list_and_on_its_page(root: Client) -> None:
    incident = an_incident(status="proving")
    an_episode(incident)
    for path in (LIST, f"{LIST}{incident.pk}/change/"):
        page = root.get(path).content.decode()
        assert "Needs you" in page
        assert "Watching for proof" not in page


@pytest.mark.parametrize(
    ("costs", "told"), [([], "-"), ([None], "?"), (["0.01", None], "$0.01 + ?"), (["0.01", "0.02"], "$0.03")]
)
def test_a_cost_that_is_not_known_is_no_zero(root: Client, costs: list[str | None], told: str) -> None:
    run = a_run(an_incident())
    ModelCall.objects.all().delete()
    step = Step.objects.filter(run=run).first()
    for cost in costs:
        ModelCall.objects.create(step=step, model="m", endpoint="e", request={}, cost_usd=cost)
    [row] = root.get(LIST).context["results"]
    assert row[-1] == told or f">{told}<" in str(row[-1])


def test_filters(root: Client) -> None:
    nas, web = a_target("nas"), a_target("web")
    old = an_incident(Verdict.UNKNOWN, target=nas, severity="warning", source="nas")
    new = an_incident(target=web)
    assert shown(root) == [new.pk, old.pk]
    assert shown(root, "status__exact=closed") == [old.pk]
    assert shown(root, "severity_class=warning") == [old.pk]
    assert shown(root, "verdict__exact=unknown") == [old.pk]
    assert shown(root, "verdict__isnull=True") == [new.pk]
    assert shown(root, "source=nas") == [old.pk]
    assert shown(root, f"target__id__exact={web.pk}") == [new.pk]


def test_each_filter_offers_what_there_is(root: Client) -> None:
    an_incident(source="grafana")
    page = root.get(LIST).content.decode()
    assert "grafana" in page
    assert all(severity in page for severity in ("critical", "warning", "info", "other"))


def test_a_time_is_chosen_step_by_step(root: Client) -> None:
    days = [
        datetime(2025, 12, 31, 12, tzinfo=UTC),
        *(datetime(2026, 3, day, 12, tzinfo=UTC) for day in (2, 9)),
    ]
    first, second, third = (an_incident(opened_at=day).pk for day in days)
    year = "opened_at__year=2026"
    assert shown(root, year) == [third, second]
    assert shown(root, f"{year}&opened_at__month=3&opened_at__day=9") == [third]
    assert shown(root, "opened_at__year=2025") == [first]
    links = root.get(LIST).content.decode()
    assert "?opened_at__year=2025" in links
    assert "?opened_at__year=2024" not in links
    months = root.get(f"{LIST}?{year}").content.decode()
    assert "January" in months
    assert "April" not in months  # after the last of them
    month = root.get(f"{LIST}?{year}&opened_at__month=3").content.decode()
    assert "opened_at__day=9" in month
    assert "opened_at__day=10" not in month


def test_the_dates_above_the_list_read_two_rows_and_no_more(root: Client) -> None:
    an_incident()
    with CaptureQueriesContext(connection) as asked:
        root.get(LIST)
    above = [query["sql"] for query in asked if "opened_at" in query["sql"] and "MIN(" in query["sql"]]
    assert len(above) == 1
    assert "WHERE" not in above[0]
    assert not [query for query in asked if "DISTINCT" in query["sql"] and "opened_at" in query["sql"]]


def test_a_bad_date_is_no_error(root: Client) -> None:
    for query in (
        "opened_at__year=soon",
        "opened_at__year=2026&opened_at__month=13",
        "opened_at__year=99999",
        "opened_at__year=9999",
    ):
        assert root.get(f"{LIST}?{query}").status_code == 302


def test_a_month_without_its_year_is_no_choice(root: Client) -> None:
    an_incident(opened_at=datetime(2026, 5, 5, 12, tzinfo=UTC))
    for query in ("opened_at__month=0", "opened_at__month=5", "opened_at__day=12345"):
        page = root.get(f"{LIST}?{query}")
        assert page.status_code == 200
        assert "?opened_at__year=2026" in page.content.decode()
    assert "?opened_at__month=5&amp;opened_at__year=2026" in (
        root.get(f"{LIST}?opened_at__year=2026&opened_at__day=5").content.decode()
    )


@pytest.mark.filterwarnings("ignore:DateTimeField:RuntimeWarning")
@pytest.mark.parametrize(
    ("zone", "query"),
    [
        ("UTC", "opened_at__year=9999&opened_at__month=12&opened_at__day=31"),
        ("UTC", "target__id__exact=12345678901234567890123"),
        ("Europe/Berlin", "opened_at__gte=0001-01-01"),
        ("Europe/Berlin", "opened_at__year=1&opened_at__month=1&opened_at__day=1"),
        ("America/New_York", "opened_at__lt=9999-12-31 23:59:59"),
    ],
)
def test_a_value_that_no_column_holds_leads_to_the_list(
    root: Client, settings: Any, zone: str, query: str
) -> None:
    settings.TIME_ZONE = zone
    an_incident()
    answer = root.get(f"{LIST}?{query}")
    assert (answer.status_code, answer["Location"]) == (302, f"{LIST}?e=1")
    assert root.get(answer["Location"]).status_code == 200


@pytest.mark.parametrize(
    "address",
    [
        f"{LIST}?alert_name=%00",
        "/admin/incidents/event/?kind=%00",
        "/admin/autocomplete/?app_label=incidents&model_name=incident&field_name=target&term=%00",
    ],
)
def test_nul_in_an_address_is_a_bad_request(root: Client, address: str) -> None:
    assert root.get(address).status_code == 400


class TestSearch:
    def test_by_alert_target_cause_and_number(self, root: Client) -> None:
        alert = an_incident(alert_name="DiskFull")
        on = an_incident(target=a_target("diskstation"))
        cause = an_incident(root_cause="The DISK is worn out")
        said = an_incident(human_cause="a disk cable")
        other = an_incident()
        assert shown(root, "q=disk") == [said.pk, cause.pk, on.pk, alert.pk]
        assert shown(root, "q=worn") == [cause.pk]
        assert shown(root, f"q=%23{other.pk}") == shown(root, f"q={other.pk}") == [other.pk]
        assert shown(root, "q=nothing") == []

    def test_together_with_a_filter(self, root: Client) -> None:
        fixed = an_incident(Verdict.VERIFIED, seconds=1, alert_name="DiskFull")
        an_incident(alert_name="DiskFull")
        assert shown(root, "q=disk&verdict__exact=verified") == [fixed.pk]

    def test_an_old_cause_is_not_found_and_the_page_says_so(
        self, root: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        an_incident(root_cause="worn out")
        last = an_incident(root_cause="worn out")
        monkeypatch.setattr(finding, "CAUSES", 1)
        assert shown(root, "q=worn") == [last.pk]
        assert "the causes of the newest" in root.get(f"{LIST}?q=worn").content.decode()

    def test_of_each_alert_the_newest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("DiskFull", "DiskSlow"):
            for _ in range(3):
                an_incident(alert_name=name)
        monkeypatch.setattr(finding, "EACH", 2)
        found = finding.matching(Incident.objects.all(), "disk").order_by("pk")
        assert [each.alert_name for each in found] == ["DiskFull"] * 2 + ["DiskSlow"] * 2

    @pytest.mark.parametrize("words", ["%", "_", "'; --", "\\", "{}", "%s", "é" * 300, "9" * 40])
    def test_odd_words_find_nothing_and_harm_nothing(self, root: Client, words: str) -> None:
        an_incident(root_cause="plain")
        answer = root.get(LIST, {"q": words})
        assert list(answer.context["cl"].result_list) == []

    def test_names_are_read_from_their_index(self) -> None:
        for name in ("b", "a", "b", "c"):
            an_incident(alert_name=name, source=f"from-{name}")
        assert finding.alert_names() == ["a", "b", "c"]
        assert finding.sources() == ["from-a", "from-b", "from-c"]


class TestMany:
    def test_escalated(self, root: Client, settings: Any) -> None:
        settings.NOTIFY_URLS = ["json://127.0.0.1:9"]
        one, over = an_incident(), an_incident(Verdict.VERIFIED, seconds=1)
        assert choose(root, "escalate", one, over) == [
            "1 escalated",
            f"{over} was not escalated: it is over, or others are called already",
        ]
        assert Event.objects.get(kind="escalated").actor == "robin"

    def test_investigated_again(self, root: Client) -> None:
        watched = an_incident(status="proving")
        CrewRun.objects.create(incident=watched, finished_at=timezone.now())
        an_episode(watched)
        busy = an_incident(alert_name="Other")
        said = choose(root, "investigate_again", watched, busy)
        assert said == ["1 investigated again", f"{busy} is not investigated again: it is investigating"]
        assert watched.runs.count() == 2

    def test_all_of_the_table_is_never_meant(self, root: Client) -> None:
        one, two = an_incident(), an_incident()
        assert choose(root, "mark_false_alarm", one, select_across="1") == ["1 marked: False Alarm"]
        two.refresh_from_db()
        assert two.verdict is None

    def test_who_may_only_look_changes_nothing(self, person: Callable[..., Client]) -> None:
        client, incident = person(staff=True), an_incident()
        User.objects.get().user_permissions.add(Permission.objects.get(codename="view_incident"))
        for action in (
            "mark_false_alarm",
            "mark_resolved_by_me",
            "mark_acknowledged",
            "escalate",
            "investigate_again",
        ):
            choose(client, action, incident)
        incident.refresh_from_db()
        assert (incident.verdict, incident.acknowledged_at) == (None, None)
        assert not incident.events.exists()
        page = client.get(f"{LIST}{incident.pk}/change/").content.decode()
        assert "_investigate" not in page


class TestPage:
    def test_the_crews_cause_is_rated_and_a_line_added(self, root: Client) -> None:
        incident = an_incident(root_cause="the disk")
        path = f"{LIST}{incident.pk}/change/"
        assert root.post(path, form(diagnosis="wrong", line="rang the shop")).status_code == 302
        incident.refresh_from_db()
        assert (incident.rating, incident.rated_by, incident.annotated_at) == ("wrong", "robin", None)
        assert list(incident.events.values_list("kind", flat=True)) == ["rated", "noted"]
        assert incident.events.get(kind="noted").text == "rang the shop"
        root.post(path, form(diagnosis="wrong"))
        assert incident.events.count() == 2, "what was said before is not said again"

    def test_a_stale_page_takes_back_nothing_of_anybody_else(self, root: Client) -> None:
        incident = an_incident(root_cause="the disk")
        path = f"{LIST}{incident.pk}/change/"
        shown = form(**hidden(root.get(path)))
        bob_writes(incident)
        assert root.post(path, {**shown, "_acknowledge": "1"}).status_code == 302
        incident.refresh_from_db()
        assert (incident.human_cause, incident.human_note, incident.rating) == (
            "the cat",
            "seen\nit",
            "wrong",
        )
        assert (incident.annotated_by, incident.rated_by, incident.acknowledged_by) == ("bob", "bob", "robin")

    @pytest.mark.parametrize(
        ("name", "mine", "his"),
        [
            ("human_cause", "the dog", "wrote “the cat”"),
            ("human_note", "heard it", "wrote “seen\nit”"),
            ("diagnosis", "right", "wrote “wrong”"),
        ],
    )
    def test_of_two_who_write_the_same_field_the_second_is_asked(
        self, root: Client, name: str, mine: str, his: str
    ) -> None:
        incident = an_incident(root_cause="the disk")
        path = f"{LIST}{incident.pk}/change/"
        shown = form(**hidden(root.get(path)), **{name: mine})
        bob_writes(incident)
        services.annotate(incident, by="carol")  # the last to annotate, not the one who wrote it
        services.annotate(incident, by="carol", verdict=Verdict.FALSE_ALARM)
        said = root.post(path, shown)
        [error] = said.context["adminform"].form.errors[name]
        assert error == f"bob {his} meanwhile. Save again to put yours instead."
        incident.refresh_from_db()
        assert (incident.human_cause, incident.human_note, incident.rating) == (
            "the cat",
            "seen\nit",
            "wrong",
        )
        root.post(path, {**shown, **hidden(said)})
        incident.refresh_from_db()
        assert (incident.rating if name == "diagnosis" else getattr(incident, name)) == mine

    def test_buttons_call_for_help_and_send_the_crew_again(self, root: Client) -> None:
        incident = an_incident()
        path = f"{LIST}{incident.pk}/change/"
        root.post(path, form(_escalate="1"))
        assert incident.events.filter(kind="escalated").count() == 1
        answer = root.post(path, form(_investigate="1"))
        said = [str(message) for message in get_messages(answer.wsgi_request)]
        assert f"{incident} is not investigated again: it is investigating" in said

    def test_it_leads_to_the_incidents_own_page(self, root: Client) -> None:
        action = an_action()
        page = root.get(f"{LIST}{action.incident_id}/change/").content.decode()
        assert f'href="/incidents/{action.incident_id}"' in page

    def test_a_long_story_comes_in_pages(self, root: Client) -> None:
        incident = an_incident()
        Event.objects.bulk_create(
            Event(incident=incident, kind="joined", actor="am", text=f"alert {number}", at=timezone.now())
            for number in range(60)
        )
        page = root.get(f"{LIST}{incident.pk}/change/").content.decode()
        assert "alert 49" in page
        assert "alert 50" not in page
        assert "alert 50" in root.get(f"{LIST}{incident.pk}/change/?events-page=2").content.decode()

    @pytest.mark.parametrize("number", ["x", "²", "①", "-1", "9" * 5000])
    def test_a_page_that_is_no_number_is_a_bad_request(self, root: Client, number: str) -> None:
        path = f"{LIST}{an_incident().pk}/change/"
        assert root.get(path, {"events-page": number}).status_code == 400

    def test_a_rating_is_changed_but_not_taken_back(self, root: Client) -> None:
        incident = an_incident(root_cause="the disk")
        path = f"{LIST}{incident.pk}/change/"
        assert "not rated" in root.get(path).content.decode()
        services.rate(incident, by="bob", rating=Rating.WRONG)
        assert "not rated" not in root.get(path).content.decode()


def test_pages_go_on_without_a_count(root: Client) -> None:
    Incident.objects.bulk_create(
        Incident(
            source="am",
            alert_name="A",
            description="d",
            severity="info",
            severity_class="info",
            started_at=timezone.now() - timedelta(minutes=number),
        )
        for number in range(60)
    )
    assert len(shown(root)) == 50
    assert len(shown(root, "p=2")) == 10
    assert root.get(f"{LIST}?p=201").status_code == 302, "pages end somewhere: what is older has a date"
