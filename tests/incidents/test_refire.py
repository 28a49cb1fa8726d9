"""An alert that fires again: after its end, after a verdict, while it is contested."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from incidents import intake, services
from incidents.alertmanager import Alert, Webhook
from incidents.batch import Raced
from incidents.models import Episode, Event, Incident, Notification, Verdict
from tests.conftest import Api

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
ENDS = (Verdict.VERIFIED, Verdict.CLEARED_BEFORE_ACTION, Verdict.RESOLVED_BY_HUMAN)


@pytest.fixture
def start() -> datetime:
    return timezone.now() - 20 * MINUTE


def alert(
    starts: datetime,
    fingerprint: str = "f",
    *,
    ends: datetime | None = None,
    name: str = "Down",
    severity: str = "warning",
) -> Alert:
    labels = {"alertname": name, "severity": severity}
    return Alert(fingerprint, ends is None, labels, {}, starts, ends)


def apply(*alerts: Alert, **more: Any) -> list[int]:
    return intake.apply_alerts(source="alertmanager", alerts=alerts, **more)


def close(verdict: Verdict = Verdict.VERIFIED) -> Incident:
    services.close(Incident.objects.get(), verdict, actor="proof", note="held")
    return Incident.objects.get()


def contested(start: datetime, *fingerprints: str, **more: Any) -> None:
    """Fired, resolved, and then Alertmanager repeated the firing."""
    apply(*(alert(start, each) for each in fingerprints), **more)
    apply(*(alert(start, each, ends=start + MINUTE) for each in fingerprints), **more)
    apply(*(alert(start, each) for each in fingerprints), **more)


@pytest.mark.parametrize("verdict", ENDS)
def test_what_fires_on_after_a_verdict_is_contested(start: datetime, verdict: Verdict) -> None:
    apply(alert(start))
    close(verdict)
    apply(alert(start))
    episode = Episode.objects.get()
    assert episode.contested_at is not None
    assert episode.ends_at is None, "its sender has not said that it ended"


@pytest.mark.parametrize("verdict", [Verdict.NOT_FIXED, Verdict.RELAPSED, Verdict.UNKNOWN])
def test_a_verdict_that_does_not_say_that_it_is_over_is_not_contested(
    start: datetime, verdict: Verdict
) -> None:
    apply(alert(start))
    close(verdict)
    apply(alert(start))
    assert not Episode.objects.contested().exists()


def test_what_a_person_called_a_false_alarm_may_go_on(start: datetime) -> None:
    apply(alert(start))
    services.annotate(Incident.objects.get(), by="robin", verdict=Verdict.FALSE_ALARM)
    apply(alert(start))
    assert not Episode.objects.contested().exists()


def test_a_relapse_after_a_verdict_reopens_within_the_flap_window(start: datetime) -> None:
    apply(alert(start))
    close()
    apply(alert(start))
    intake.settle_contested(Episode.objects.get(), active=True, how="its expression is true")
    incident = Incident.objects.get()
    assert (incident.verdict, incident.reopened) == (None, 1)
    assert Episode.objects.firing().get().incident == incident


def test_a_relapse_after_the_flap_window_leaves_the_closed_incident_its_alert(start: datetime) -> None:
    apply(alert(start))
    old = close()
    Incident.objects.update(closed_at=timezone.now() - 15 * MINUTE)
    apply(alert(start))
    intake.settle_contested(Episode.objects.get(), active=True, how="its expression is true")
    new = Incident.objects.unresolved().get()
    assert new.previous == old
    assert old.episodes.firing().count() == 0
    assert old.episodes.count() == new.episodes.firing().count() == 1


def test_a_sender_that_has_not_heard_of_the_end_does_not_flap(start: datetime) -> None:
    apply(alert(start))
    close()
    apply(alert(start))
    intake.settle_contested(Episode.objects.get(), active=False, how="its expression is not true")
    assert Incident.objects.get().verdict == Verdict.VERIFIED
    assert not Episode.objects.contested().exists()


def test_a_later_start_before_the_verdict_is_a_new_firing(start: datetime) -> None:
    """Prometheus's clock is some seconds behind, or a person was quick to click."""
    apply(alert(start))
    closed = close()
    apply(alert((closed.closed_at or start) - timedelta(seconds=2)))
    assert Episode.objects.count() == 2
    assert Incident.objects.get().reopened == 1


@pytest.mark.parametrize("verdict", [Verdict.FALSE_ALARM, Verdict.RESOLVED_BY_HUMAN])
def test_a_persons_verdict_stands_and_the_next_firing_is_a_linked_incident(
    start: datetime, verdict: Verdict
) -> None:
    [first] = apply(alert(start))
    services.annotate(Incident.objects.get(), by="robin", verdict=verdict)
    [second] = apply(alert(timezone.now()))
    assert Incident.objects.get(pk=first).verdict == verdict
    assert Incident.objects.get(pk=second).previous_id == first


def test_two_alerts_of_a_closed_incident_reopen_it_once(start: datetime) -> None:
    apply(alert(start, "a"), alert(start, "b"), group_key="g")
    close()
    apply(alert(timezone.now(), "a"), alert(timezone.now(), "b"))
    assert Incident.objects.get().reopened == 1


def test_a_new_firing_settles_a_contested_one(start: datetime) -> None:
    contested(start, "a")
    apply(alert(start + 2 * MINUTE, "a"))
    assert not Episode.objects.contested().exists()
    assert Episode.objects.firing().count() == 1


def test_a_contested_episode_that_was_overtaken_stays_ended(start: datetime) -> None:
    contested(start, "a")
    asked = Episode.objects.get()
    apply(alert(start + 2 * MINUTE, "a"))
    Episode.objects.filter(pk=asked.pk).update(contested_at=timezone.now())
    intake.settle_contested(asked, active=True, how="its expression is true")
    assert Episode.objects.firing().count() == 1
    assert not Episode.objects.contested().exists()


def test_an_incident_closed_while_somebody_was_asked_comes_back(start: datetime) -> None:
    contested(start, "a")
    asked = Episode.objects.select_related("incident").get()
    close()
    intake.settle_contested(asked, active=True, how="its expression is true")
    assert Incident.objects.unresolved().get().episodes.firing().count() == 1


def test_contested_alerts_of_a_group_open_one_incident(start: datetime) -> None:
    contested(start, "a", "b", group_key="g")
    close()
    Incident.objects.update(closed_at=timezone.now() - 15 * MINUTE)
    for episode in Episode.objects.contested():
        intake.settle_contested(episode, active=True, how="its expression is true")
    assert Incident.objects.unresolved().get().episodes.firing().count() == 2


def test_a_contested_watchdog_opens_nothing(start: datetime) -> None:
    for ends in (None, start + MINUTE, None):
        apply(alert(start, ends=ends, name="Watchdog"))
    intake.settle_contested(Episode.objects.contested().get(), active=True, how="its expression is true")
    assert Episode.objects.firing().count() == 1
    assert not Incident.objects.exists()


def test_a_resolve_ends_what_was_contested_after_a_verdict(start: datetime) -> None:
    apply(alert(start))
    close()
    apply(alert(start))
    apply(alert(start, ends=timezone.now()))
    assert not Episode.objects.contested().exists()
    assert not Episode.objects.firing().exists()


def test_a_delivery_that_ends_and_begins_an_alert_of_a_mapped_group(start: datetime) -> None:
    """Both in one delivery, the resolve first: nothing seems to begin while the group is looked up."""
    [first] = apply(alert(start), group_key="g")
    again = (alert(start, ends=start + MINUTE), alert(start + 2 * MINUTE))
    receipt = intake.receive(source="alertmanager", body=b"{}", webhook=Webhook("g", again))
    assert receipt.incidents == [first]
    assert Episode.objects.firing().count() == 1


def test_what_a_delivery_writes_back_is_locked_while_it_is_read(start: datetime) -> None:
    """Else a repeat with other annotations undoes a resolve that another worker is just storing."""
    apply(alert(start))
    with CaptureQueriesContext(connection) as queries:
        apply(alert(start))
    locked = [each["sql"] for each in queries if "FOR UPDATE OF" in each["sql"]]
    # SQLite has one writer at a time, from the first statement of a transaction on.
    assert len(locked) == (1 if connection.features.has_select_for_update else 0)


def told() -> list[str]:
    return sorted(Notification.objects.values_list("dedup_key", flat=True))


def test_a_critical_that_joins_a_warning_is_told_once(start: datetime) -> None:
    [pk] = apply(alert(start, "a"), group_key="g")
    assert told() == []
    apply(alert(start, "b", severity="critical"), alert(start, "c", severity="critical"), group_key="g")
    apply(alert(start, "d", severity="critical"), group_key="g")
    assert told() == [f"{pk}:opened:0:rose:none"]


def test_a_critical_that_comes_back_is_told_without_the_crew(start: datetime) -> None:
    [pk] = apply(alert(start, severity="critical"))
    close()
    apply(alert(timezone.now(), severity="critical"))
    assert told() == [f"{pk}:opened:0:none", f"{pk}:opened:1:none"]


def test_a_critical_that_joins_an_adopted_incident_is_told(start: datetime) -> None:
    apply(alert(start, "a"), group_key="g", quiet=True)
    [pk] = apply(alert(timezone.now(), "b", severity="critical"), group_key="g")
    assert not Incident.objects.get().adopted
    assert told() == [f"{pk}:opened:0:none"]


def test_an_adopted_incident_that_comes_back_is_like_any_other(start: datetime) -> None:
    [pk] = apply(alert(start, severity="critical"), quiet=True)
    close()
    apply(alert(timezone.now(), severity="critical"))
    assert not Incident.objects.get().adopted
    assert told() == [f"{pk}:opened:1:none"]


def test_a_race_that_is_lost_too_often_asks_the_sender_to_come_again(
    ingest: Api, golden: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*arguments: Any) -> None:
        raise Raced("#1")

    monkeypatch.setattr(intake, "_apply", lost)
    answer = ingest.post("/alert", golden("firing_single"))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


def test_the_timeline_says_what_is_asked(start: datetime) -> None:
    apply(alert(start))
    close()
    apply(alert(start))
    text = Event.objects.get(kind=Event.Kind.CONTESTED).text
    assert text == "Down fires again with a start at or before the verdict; asking if it is active"
