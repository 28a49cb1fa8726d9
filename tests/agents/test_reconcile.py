"""Alertmanager's list alone is an intake: it opens what nobody delivered and ends what it lists no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.utils import timezone

from agents import contested, judgement, proof, reconcile
from agents.reading import ExpressionState
from agents.tools import alertmanager as tool
from incidents import intake, jobs, services
from incidents.alertmanager import Alert, Webhook, parse_api_alert
from incidents.models import Episode, Event, Incident, Job, Notification, Verdict
from incidents.queue import State
from tests.agents.alertmanager_api import FakeAlertmanager, active, serving
from tests.incidents.rows import an_episode, an_incident

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def alertmanager(settings) -> Iterator[FakeAlertmanager]:
    with serving() as fake:
        settings.ALERTMANAGER_URL = fake.url
        settings.NOTIFY_URLS = []
        yield fake


@pytest.fixture
def checked(alertmanager: FakeAlertmanager) -> FakeAlertmanager:
    """Not the first time: the health check ran, and a poll of a minute ago found nothing."""
    now = timezone.now()
    Job.objects.create(name="health_check", last_finished_at=now)
    result = {"polls": [(now - MINUTE).isoformat()]}
    Job.objects.create(name="reconcile", last_finished_at=now, result=result, state=State.WAITING)
    return alertmanager


def poll() -> dict[str, Any]:
    """The next minute's poll: everything that was written before is a minute older."""
    job, _ = Job.objects.get_or_create(name="reconcile")
    result = job.result or {}
    if polls := result.get("polls"):
        result["polls"] = [(datetime.fromisoformat(each) - MINUTE).isoformat() for each in polls]
    Job.objects.filter(pk=job.pk).update(result=result, state=State.WAITING, due_at=timezone.now())
    for row in Episode.objects.exclude(listed_at=None):
        Episode.objects.filter(pk=row.pk).update(listed_at=row.listed_at - MINUTE)
    jobs.run(job.pk)
    job.refresh_from_db()
    return job.result or {}


def read(item: dict[str, Any]) -> Alert:
    alert = parse_api_alert(item)
    assert alert is not None
    return alert


def delivered(item: dict[str, Any], *, minutes_ago: float) -> Episode:
    """An alert that a delivery brought, last heard of some minutes ago."""
    alert = read(item)
    intake.apply_alerts(source="alertmanager", alerts=[alert])
    seen = timezone.now() - minutes_ago * MINUTE
    Episode.objects.filter(fingerprint=alert.fingerprint).update(last_seen_at=seen)
    return Episode.objects.get(fingerprint=alert.fingerprint)


def is_open(fingerprint: str) -> bool:
    return Episode.objects.firing().filter(fingerprint=fingerprint).exists()


def test_what_no_delivery_brought_is_opened_once(checked: FakeAlertmanager) -> None:
    checked.alerts = [active("a"), active("young", startsAt=timezone.now().isoformat())]
    poll()
    poll()
    incident = Incident.objects.get()
    assert (incident.alert_name, incident.adopted) == ("Misseda", False)
    assert Episode.objects.get().polled


def test_a_storm_that_no_delivery_brought_is_one_incident_a_group(checked: FakeAlertmanager) -> None:
    labels = {"alertname": "Down", "severity": "warning"}
    checked.alerts = [active(f"f{n}", labels={**labels, "instance": f"h{n}:9100"}) for n in range(40)]
    checked.alerts.append(active("other"))
    poll()
    assert Incident.objects.count() == 2
    checked.alerts.append(active("late", labels={**labels, "instance": "late:9100"}))
    poll()
    assert Incident.objects.count() == 2


def test_what_alertmanager_holds_for_its_group_joins_what_it_delivered(checked: FakeAlertmanager) -> None:
    labels = {"alertname": "Down", "severity": "warning"}
    long_ago = (timezone.now() - 7 * MINUTE).isoformat()
    checked.alerts = [active("f0", labels=labels), active("f1", labels=labels, startsAt=long_ago)]
    webhook = Webhook("{}:{alertname='Down'}", (read(checked.alerts[0]),))
    [first] = intake.receive(source="named", body=b"{}", webhook=webhook).incidents
    poll()
    assert Episode.objects.get(fingerprint="f1").incident_id == first


def test_where_deliveries_come_it_waits_for_the_groups_interval(checked: FakeAlertmanager) -> None:
    intake.receive(source="alertmanager", body=b"{}", webhook=Webhook("", ()))
    checked.alerts = [active("a"), active("b", startsAt=(timezone.now() - 7 * MINUTE).isoformat())]
    poll()
    assert [row.fingerprint for row in Episode.objects.all()] == ["b"]


def test_what_the_poll_opened_is_taken_over_by_whoever_delivers_it(checked: FakeAlertmanager) -> None:
    checked.alerts = [active("a"), active("b", labels={"alertname": "Misseda"})]
    poll()
    first = Incident.objects.get()
    alerts = tuple(read(active(name)) for name in ("a", "new"))
    webhook = Webhook("{}:{alertname='Misseda'}", alerts)
    assert intake.receive(source="prod", body=b"{}", webhook=webhook).incidents == [first.pk]
    assert dict(Episode.objects.values_list("fingerprint", "source")) == {
        "a": "prod",
        "b": "alertmanager",
        "new": "prod",
    }


def test_the_poll_sees_that_an_alert_fires_anew_after_its_verdict(checked: FakeAlertmanager) -> None:
    checked.alerts = [active("a")]
    poll()
    services.close(Incident.objects.get(), Verdict.VERIFIED, actor="proof", note="held")
    poll()
    assert Incident.objects.get().reopened == 0
    checked.alerts = [active("a", startsAt=(timezone.now() - MINUTE).isoformat())]
    poll()
    assert Incident.objects.get().reopened == 1


Sees = Callable[[ExpressionState], None]


@pytest.fixture
def sees(monkeypatch: pytest.MonkeyPatch) -> Sees:
    """`sees(state)`: what the alerts' own expressions are from now on."""

    def make(state: ExpressionState) -> None:
        look = judgement.Look(state, f"it is {state}")
        monkeypatch.setattr(proof, "observe_episode", lambda episode: look)

    return make


def closed_as(verdict: Verdict, *, minutes_ago: float = 0) -> Incident:
    incident = Incident.objects.get()
    assert services.close(incident, verdict, actor="x", note="")
    Incident.objects.update(closed_at=timezone.now() - minutes_ago * MINUTE)
    return incident


def test_the_poll_sees_a_relapse_with_the_same_start_and_the_incident_is_worked_on_again(
    checked: FakeAlertmanager, sees: Sees
) -> None:
    checked.alerts = [active("a")]
    poll()
    incident = closed_as(Verdict.VERIFIED)
    sees(ExpressionState.CLEARED)  # Alertmanager has not heard of the end yet
    poll()
    assert not Episode.objects.contested().exists()
    sees(ExpressionState.FIRING)
    poll()
    poll()
    contested.settle(Episode.objects.contested().get().pk)
    incident.refresh_from_db()
    assert (incident.reopened, incident.verdict, Incident.objects.count()) == (1, None, 1)
    poll()
    assert not Episode.objects.contested().exists()


def test_a_relapse_that_the_poll_sees_late_is_another_incident(
    checked: FakeAlertmanager, sees: Sees, settings
) -> None:
    checked.alerts = [active("a")]
    poll()
    first = closed_as(Verdict.CLEARED_BEFORE_ACTION, minutes_ago=settings.FLAP_WINDOW_SECONDS / 60 + 1)
    sees(ExpressionState.FIRING)
    poll()
    contested.settle(Episode.objects.contested().get().pk)
    assert Incident.objects.exclude(pk=first.pk).get().previous == first


@pytest.mark.parametrize(
    ("verdict", "minutes_ago", "state", "contests"),
    [
        (Verdict.VERIFIED, 1, ExpressionState.UNKNOWN, False),  # its end is on the way to Alertmanager
        (Verdict.VERIFIED, 11, ExpressionState.UNKNOWN, True),
        (Verdict.VERIFIED, 11, ExpressionState.CLEARED, False),  # keep_firing_for
        (Verdict.RESOLVED_BY_HUMAN, 1, ExpressionState.FIRING, False),  # said before it shows
        (Verdict.RESOLVED_BY_HUMAN, 11, ExpressionState.FIRING, True),
        (Verdict.NOT_FIXED, 11, ExpressionState.FIRING, False),  # nobody said that it is over
    ],
)
def test_what_is_listed_after_its_verdict_is_no_relapse_by_that_alone(
    checked: FakeAlertmanager,
    sees: Sees,
    verdict: Verdict,
    minutes_ago: float,
    state: ExpressionState,
    contests: bool,
) -> None:
    checked.alerts = [active("a")]
    poll()
    closed_as(verdict, minutes_ago=minutes_ago)
    sees(state)
    poll()
    assert Episode.objects.contested().exists() == contests


def test_what_is_silenced_opens_nothing(checked: FakeAlertmanager) -> None:
    checked.alerts = [active("a", status={"state": "suppressed", "silencedBy": ["x"]})]
    poll()
    assert not Incident.objects.exists()


def test_alerts_about_this_program_are_not_missed(checked: FakeAlertmanager) -> None:
    """They are routed past it; AIAgentsDeliveriesMissed would find itself."""
    rules = yaml.safe_load((Path(__file__).parents[2] / "metrics/prometheus/alerts.yml").read_text())
    [missed] = [
        rule
        for group in rules["groups"]
        for rule in group["rules"]
        if rule["alert"] == "AIAgentsDeliveriesMissed"
    ]
    checked.alerts = [active("a", labels={"alertname": missed["alert"], **missed["labels"]}), active("b")]
    poll()
    assert Episode.objects.get().fingerprint == "b"


def test_an_alert_that_another_sender_brought_is_not_opened_twice(checked: FakeAlertmanager) -> None:
    an_episode(an_incident(source="second"), fingerprint="a")
    checked.alerts = [active("a")]
    poll()
    assert Incident.objects.count() == 1


def test_what_a_poll_opened_ends_when_two_polls_miss_it(checked: FakeAlertmanager) -> None:
    checked.alerts = [active("a")]
    poll()
    checked.alerts = []
    poll()
    assert is_open("a"), "an Alertmanager that has just started lists nothing"
    poll()
    assert not is_open("a")
    incident = Incident.objects.get()
    assert incident.ended_at is not None
    assert incident.verdict is None, "the end of an episode is no proof"
    assert Event.objects.filter(kind="resolved_by_sender").count() == 1


def test_what_was_opened_and_never_listed_again_ends(checked: FakeAlertmanager) -> None:
    """The health check opened it, say, or the worker was killed before it wrote that it is listed."""
    checked.alerts = [active("a")]
    reconcile.open_missed(tool.listing(), quiet=False)
    checked.alerts = []
    assert is_open("a")
    for _ in range(3):
        poll()
    assert not is_open("a")


def test_silencing_it_does_not_end_it(checked: FakeAlertmanager) -> None:
    checked.alerts = [active("a")]
    poll()
    checked.alerts = [active("a", status={"state": "suppressed", "silencedBy": ["x"]})]
    for _ in range(4):
        poll()
    assert is_open("a")


@pytest.mark.parametrize(("minutes_ago", "ends"), [(11, True), (5, False)])
def test_a_delivered_alert_whose_resolve_was_lost_ends_late(
    checked: FakeAlertmanager, minutes_ago: float, ends: bool
) -> None:
    checked.alerts = [active("a")]
    delivered(checked.alerts[0], minutes_ago=minutes_ago)
    poll()
    checked.alerts = []
    poll()
    poll()
    assert is_open("a")
    poll()
    assert is_open("a") is not ends


def test_what_alertmanager_never_listed_is_not_ended_by_its_list(checked: FakeAlertmanager) -> None:
    """Somebody else's alert that came with the same source, a test by curl, say."""
    delivered(active("curl"), minutes_ago=60)
    for _ in range(5):
        poll()
    assert is_open("curl")


def test_an_alertmanager_that_is_away_ends_nothing(checked: FakeAlertmanager) -> None:
    checked.alerts = [active("a")]
    poll()
    checked.down = True
    for _ in range(5):
        assert "error" in poll()
    checked.down, checked.alerts = False, []
    poll()
    assert is_open("a"), "it was asked once since"
    poll()
    poll()
    assert not is_open("a")


def test_it_comes_back_when_it_is_listed_again(checked: FakeAlertmanager) -> None:
    checked.alerts = [active("a")]
    poll()
    checked.alerts = []
    poll()
    poll()
    assert not is_open("a")
    checked.alerts = [active("a")]
    poll()
    assert Episode.objects.get().contested_at is not None, "fired with its old start: somebody is asked"


def test_the_very_first_poll_adopts_quietly_with_one_summary(alertmanager: FakeAlertmanager) -> None:
    Job.objects.create(name="health_check", last_finished_at=timezone.now())
    alertmanager.down = True
    assert "polls" not in poll()
    alertmanager.down = False
    alertmanager.alerts = [active(name) for name in "abc"]
    poll()
    assert Incident.objects.filter(adopted=True).count() == 3
    assert Notification.objects.get().title == "3 alerts fired already when homelab started"
    alertmanager.alerts.append(active("later"))
    poll()
    assert Incident.objects.filter(adopted=False).count() == 1


def test_before_the_first_health_check_it_waits(alertmanager: FakeAlertmanager) -> None:
    alertmanager.alerts = [active("a")]
    assert poll() == {}
    assert not Incident.objects.exists()


def test_without_an_alertmanager_nobody_is_asked(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ALERTMANAGER_URL = None
    monkeypatch.setattr(tool, "listing", lambda: pytest.fail("asked"))
    assert reconcile.run() == {}


def test_a_job_that_was_not_recurring_for_a_while_is_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "REGISTRY", {"reconcile": jobs.Work(lambda renew: {}, None)})
    jobs.ensure()
    job = Job.objects.create(name="reconcile")
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.state == State.DONE
    monkeypatch.setattr(jobs, "REGISTRY", {"reconcile": jobs.Work(lambda renew: {}, 60)})
    jobs.ensure()
    job.refresh_from_db()
    assert job.state == State.WAITING
