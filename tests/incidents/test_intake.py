"""Episodes, incidents and groups: what a delivery means, whatever order and number it comes in."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from incidents import intake, services
from incidents.alertmanager import Alert, Webhook, parse_webhook
from incidents.batch import Batch
from incidents.models import Delivery, Episode, Event, GroupKey, Incident, Notification, Target, Verdict

pytestmark = pytest.mark.django_db
GOLDEN = Path(__file__).parent.parent / "data" / "alertmanager"
START = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)


def post(name: str) -> intake.Receipt:
    body = (GOLDEN / f"{name}.json").read_bytes()
    return intake.receive(source="alertmanager", body=body, webhook=parse_webhook(body))


@pytest.fixture
def alert() -> Callable[..., Alert]:
    def make(
        fingerprint: str = "f1",
        *,
        starts: float = 0,
        ends: float | None = None,
        name: str = "ServiceDown",
        severity: str = "critical",
        **labels: str,
    ) -> Alert:
        return Alert(
            fingerprint=fingerprint,
            firing=ends is None,
            labels={"alertname": name, "severity": severity, **labels},
            annotations={"summary": f"{name} {fingerprint}"},
            starts_at=START + timedelta(seconds=starts),
            ends_at=None if ends is None else START + timedelta(seconds=ends),
        )

    return make


def apply(*alerts: Alert, group_key: str = "", quiet: bool = False) -> list[int]:
    return intake.apply_alerts(source="alertmanager", alerts=alerts, group_key=group_key, quiet=quiet)


def test_every_alert_of_a_delivery_counts_not_only_the_first() -> None:
    receipt = post("firing_grouped_3alerts")
    assert receipt.accepted == 3
    assert Episode.objects.firing().count() == 3
    assert Incident.objects.count() == 1  # one group, one incident


def test_each_alerts_own_status_counts_not_the_groups() -> None:
    post("firing_grouped_3alerts")
    post("grouped_partial_resolved_status_firing")
    assert Episode.objects.firing().count() == 2
    assert Incident.objects.get().ended_at is None


def test_an_incident_ends_when_all_its_alerts_do() -> None:
    post("firing_grouped_3alerts")
    post("grouped_partial_resolved_status_firing")
    post("resolved_2alerts")
    incident = Incident.objects.get()
    assert incident.ended_at is not None
    assert incident.verdict is None  # a resolve from the sender is no proof


def test_a_redelivered_alert_changes_nothing() -> None:
    first = post("firing_single")
    again = post("firing_single")
    assert first.incidents == again.incidents
    assert Episode.objects.count() == Incident.objects.count() == 1
    assert Delivery.objects.count() == 2
    assert bytes(Delivery.objects.first().body) == (GOLDEN / "firing_single.json").read_bytes()


def test_a_start_that_moves_back_is_the_same_episode_and_keeps_the_earliest(
    alert: Callable[..., Alert],
) -> None:
    apply(alert(starts=10))
    apply(alert(starts=5))
    apply(alert(starts=8))
    assert Episode.objects.get().starts_at == START + timedelta(seconds=5)


def test_a_resolved_that_arrives_first_leaves_a_tombstone(alert: Callable[..., Alert]) -> None:
    assert apply(alert(ends=30)) == []
    assert Incident.objects.count() == 0
    apply(alert())  # its firing, late: contested, not believed, not dropped
    assert Episode.objects.get().contested_at is not None
    assert Incident.objects.count() == 0


def test_a_contested_alert_that_is_active_reopens(alert: Callable[..., Alert]) -> None:
    [incident_id] = apply(alert())
    apply(alert(ends=30))
    apply(alert())
    episode = Episode.objects.get()
    intake.settle_contested(episode, active=True, how="its expression is true")
    episode.refresh_from_db()
    assert (episode.ends_at, episode.contested_at) == (None, None)
    assert episode.incident_id == incident_id
    assert Incident.objects.get().ended_at is None


def test_a_contested_alert_that_is_not_active_stays_ended(alert: Callable[..., Alert]) -> None:
    apply(alert())
    apply(alert(ends=30))
    apply(alert())
    intake.settle_contested(Episode.objects.get(), active=False, how="its expression is not true")
    assert Episode.objects.get().ends_at == START + timedelta(seconds=30)


def test_a_contested_tombstone_that_is_active_opens_its_incident(alert: Callable[..., Alert]) -> None:
    apply(alert(ends=30))
    apply(alert())
    intake.settle_contested(Episode.objects.get(), active=True, how="Alertmanager lists it")
    assert Incident.objects.get().episodes.firing().count() == 1


def test_a_refire_within_the_flap_window_reopens_the_incident(alert: Callable[..., Alert]) -> None:
    [incident_id] = apply(alert())
    apply(alert(ends=30))
    services.close(Incident.objects.get(), Verdict.CLEARED_BEFORE_ACTION, actor="proof", note="held")
    assert apply(alert(starts=60)) == [incident_id]
    incident = Incident.objects.get()
    assert (incident.status, incident.verdict, incident.reopened) == ("new", None, 1)


def test_a_refire_after_the_flap_window_is_a_new_incident_linked_to_the_last(
    alert: Callable[..., Alert], settings
) -> None:
    settings.FLAP_WINDOW_SECONDS = 600
    [first] = apply(alert())
    apply(alert(ends=30))
    services.close(Incident.objects.get(), Verdict.CLEARED_BEFORE_ACTION, actor="proof", note="held")
    Incident.objects.update(closed_at=timezone.now() - timedelta(seconds=601))
    [second] = apply(alert(starts=60))
    assert second != first
    assert Incident.objects.get(pk=second).previous_id == first


def test_a_refire_whose_resolve_was_never_sent_is_noticed(alert: Callable[..., Alert]) -> None:
    apply(alert())
    services.close(Incident.objects.get(), Verdict.VERIFIED, actor="proof", note="held")
    later = (timezone.now() - START).total_seconds() + 5
    apply(alert(starts=later))
    assert Episode.objects.count() == 2
    assert Incident.objects.get().reopened == 1


def test_a_late_resolve_of_an_earlier_episode_ends_nothing(alert: Callable[..., Alert]) -> None:
    apply(alert())
    apply(alert(ends=30))
    apply(alert(starts=60))
    apply(alert(ends=30))
    assert Episode.objects.firing().count() == 1


def test_alerts_of_one_group_join_one_incident_and_a_new_group_opens_another(
    alert: Callable[..., Alert],
) -> None:
    [first] = apply(alert("a"), group_key="{}:{team='x'}")
    assert apply(alert("b", name="Other"), group_key="{}:{team='x'}") == [first]
    assert apply(alert("c"), group_key="{}:{team='y'}") != [first]


def test_a_closed_incident_takes_no_more_alerts_of_its_group(alert: Callable[..., Alert]) -> None:
    [first] = apply(alert("a"), group_key="g")
    services.close(Incident.objects.get(), Verdict.VERIFIED, actor="proof", note="held")
    assert apply(alert("b"), group_key="g") != [first]
    assert GroupKey.objects.filter(ended_at=None).count() == 1


def test_alerts_about_one_target_join(alert: Callable[..., Alert]) -> None:
    Target.objects.create(key="docker:local/web", kind="docker", host="local", name="web")
    [first] = apply(alert("a", name="Down", container="web"))
    assert apply(alert("b", name="Slow", container="web", severity="warning")) == [first]
    assert Incident.objects.get().target.key == "docker:local/web"


def test_an_alert_below_a_target_that_is_down_joins_it(alert: Callable[..., Alert]) -> None:
    host = Target.objects.create(key="docker_host:d1", kind="docker_host", host="d1", name="d1")
    Target.objects.create(key="docker:d1/web", kind="docker", host="d1", name="web", parent=host)
    [first] = apply(alert("a", name="HostDown", instance="d1:9100"))
    assert apply(alert("b", name="ContainerDown", container="web")) == [first]


def test_a_name_on_two_hosts_binds_to_neither_unless_a_label_says_which(alert: Callable[..., Alert]) -> None:
    for host in ("d1", "d2"):
        Target.objects.create(key=f"docker:{host}/web", kind="docker", host=host, name="web")
    [unclear] = apply(alert("a", container="web"))
    [clear] = apply(alert("b", container="web", host="d2"))
    assert Incident.objects.get(pk=unclear).target is None
    assert Incident.objects.get(pk=clear).target.key == "docker:d2/web"


@pytest.mark.parametrize("name", ["Watchdog", "DeadMansSwitch", "dead_mans_switch"])
def test_watchdogs_open_nothing(alert: Callable[..., Alert], name: str) -> None:
    apply(alert(name=name))
    assert Episode.objects.count() == 1
    assert Incident.objects.count() == 0


def test_a_critical_is_told_and_a_warning_waits_for_its_analysis(alert: Callable[..., Alert]) -> None:
    apply(alert("a", severity="warning"))
    assert Notification.objects.count() == 0
    apply(alert("b"))
    message = Notification.objects.get()
    assert "not analysed yet" in message.title
    assert message.title.startswith("CRIT ServiceDown")
    assert message.due_at - timezone.now() < timedelta(seconds=60)


def test_what_fires_at_the_first_poll_is_adopted_without_a_message(alert: Callable[..., Alert]) -> None:
    apply(alert(), quiet=True)
    assert Incident.objects.get().adopted
    assert Notification.objects.count() == 0


def test_severity_is_stored_as_sent_and_counted_by_class(alert: Callable[..., Alert]) -> None:
    apply(alert(severity="PAGE"))
    incident = Incident.objects.get()
    assert (incident.severity, incident.severity_class) == ("PAGE", "critical")


def test_a_truncated_group_keeps_what_it_brought() -> None:
    post("trunc_receiver_firing_single")
    post("truncated_max_alerts2_firing")
    post("truncated_partial_resolved")
    post("trunc_receiver_resolved")
    assert Incident.objects.count() == 1
    assert Episode.objects.filter(ends_at=None).count() == 0
    tombstone = Episode.objects.get(fingerprint="c12a1ad529827e54")
    assert tombstone.incident is None  # it was cut off while it fired


def test_a_bad_alert_is_quarantined_and_the_good_one_kept() -> None:
    payload = json.loads((GOLDEN / "firing_single.json").read_text())
    payload["alerts"] += [{"status": "firing", "labels": {"a": 1}, "startsAt": "2026-11-23T04:06:24Z"}, 7]
    body = json.dumps(payload).encode()
    receipt = intake.receive(source="s", body=body, webhook=parse_webhook(body))
    assert (receipt.accepted, receipt.quarantined) == (1, 2)
    assert Delivery.objects.get().quarantined == [
        {"index": 1, "reason": "labels.'a': wants a string, got a number"},
        {"index": 2, "reason": "alert: wants an object, got a number"},
    ]


def test_an_alert_that_joins_while_the_proof_looks_is_not_closed_over(alert: Callable[..., Alert]) -> None:
    apply(alert("a"), group_key="g")
    seen = Incident.objects.get()
    apply(alert("b"), group_key="g")
    assert not services.close(seen, Verdict.VERIFIED, actor="proof", note="held", only_if_unjoined=True)
    assert Incident.objects.get().verdict is None


def test_an_alert_that_joins_an_incident_being_closed_looks_again(
    alert: Callable[..., Alert], monkeypatch: pytest.MonkeyPatch
) -> None:
    [first] = apply(alert("a"), group_key="g")
    load, looks = Batch.load_places, []

    def close_meanwhile(batch: Batch, opening: Any) -> None:
        load(batch, opening)
        looks.append(batch)
        if len(looks) == 1:  # undone with the transaction, as if the other one had not committed
            Incident.objects.update(status="closed", verdict="verified", closed_at=timezone.now())

    monkeypatch.setattr(Batch, "load_places", close_meanwhile)
    webhook = Webhook(group_key="g", alerts=(alert("b"),))
    receipt = intake.receive(source="alertmanager", body=b"{}", webhook=webhook)
    assert len(looks) == 2
    assert receipt.incidents == [first]
    assert Incident.objects.get().joins == 1


def test_fifty_new_alerts_cost_a_few_queries(
    alert: Callable[..., Alert], django_assert_max_num_queries: Callable[..., Any]
) -> None:
    alerts = [alert(f"f{n}", name=f"A{n}") for n in range(50)]
    with django_assert_max_num_queries(10):
        apply(*alerts, group_key="g")
    with django_assert_max_num_queries(5):
        apply(*alerts, group_key="g")
    assert Incident.objects.get().joins == 49


def test_alerts_that_join_together_are_one_line_of_the_timeline(alert: Callable[..., Alert]) -> None:
    apply(alert("a", name="First"), group_key="g")
    apply(*(alert(f"f{n}", name=f"Later{n}") for n in range(7)), group_key="g")
    joined = Event.objects.get(kind=Event.Kind.JOINED)
    assert joined.text == "7 alerts joined: Later0, Later1, Later2, Later3, Later4, …"
    assert [labels["alertname"] for labels in joined.data["labels"]] == [f"Later{n}" for n in range(7)]


def together(*deliveries: tuple[str, str, list[Alert]]) -> list[intake.Receipt]:
    """Deliveries (source, group key, alerts) that arrived at the same moment."""
    return intake._receive(
        [intake.Arrival(source, b"{}", Webhook(group, tuple(alerts))) for source, group, alerts in deliveries]
    )


def test_deliveries_that_arrive_together_are_what_they_are_one_by_one(alert: Callable[..., Alert]) -> None:
    one, two, other = together(
        ("alertmanager", "g", [alert("a")]),
        ("alertmanager", "h", [alert("b"), alert("c")]),
        ("grafana", "g", [alert("a")]),
    )
    assert [len(each.incidents) for each in (one, two, other)] == [1, 1, 1]
    assert len({*one.incidents, *two.incidents, *other.incidents}) == 3
    assert [Delivery.objects.get(pk=each.delivery_id).alerts for each in (one, two, other)] == [1, 2, 1]
    assert Incident.objects.get(pk=two.incidents[0]).joins == 1


def test_what_both_of_a_pair_deliver_at_once_is_one_incident(alert: Callable[..., Alert]) -> None:
    first, second = together(("alertmanager", "g", [alert("a")]), ("alertmanager", "g", [alert("a")]))
    assert first.incidents == second.incidents
    assert Incident.objects.get().joins == 0
    assert Episode.objects.count() == GroupKey.objects.count() == 1


def test_a_group_that_comes_in_two_deliveries_at_once_is_one_incident(alert: Callable[..., Alert]) -> None:
    first, second = together(
        ("alertmanager", "g", [alert("a", severity="warning")]),
        ("alertmanager", "g", [alert("b", severity="critical", starts=-60)]),
    )
    assert first.incidents == second.incidents
    incident = Incident.objects.get()
    assert (incident.severity, incident.started_at) == ("critical", START - timedelta(seconds=60))
    assert Notification.objects.get().kind == Notification.Kind.OPENED


def test_what_fires_and_resolves_at_once_has_ended(alert: Callable[..., Alert]) -> None:
    together(("alertmanager", "g", [alert("a")]), ("alertmanager", "g", [alert("a", ends=30)]))
    assert Incident.objects.get().ended_at is not None
    assert not Episode.objects.firing().exists()


def test_a_join_does_not_undo_what_another_joined_meanwhile(
    alert: Callable[..., Alert], monkeypatch: pytest.MonkeyPatch
) -> None:
    [pk] = apply(alert("a", severity="info"), group_key="g")
    load = Batch.load_places

    def grow_worse_meanwhile(batch: Batch, opening: Any) -> None:
        load(batch, opening)
        Incident.objects.filter(pk=pk).update(severity="critical", severity_class="critical", joins=1)

    monkeypatch.setattr(Batch, "load_places", grow_worse_meanwhile)
    apply(alert("b", severity="warning"), group_key="g")
    incident = Incident.objects.get()
    assert (incident.severity, incident.severity_class, incident.joins) == ("critical", "critical", 2)
