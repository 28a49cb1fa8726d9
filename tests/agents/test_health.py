"""The scheduled check: what nobody alerted about, by the same road; and nothing for "no issues found"."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from agents import cases, contested, health, proof, reconcile
from agents.tools import docker
from incidents import jobs, notifications, services
from incidents.models import Episode, Event, Incident, Job, Notification, Verdict
from tests.agents.alertmanager_api import active
from tests.agents.alertmanager_api import serving as serving_alertmanager
from tests.agents.fake_prometheus import FakePrometheus, serving
from tests.incidents.rows import an_episode, an_incident

pytestmark = pytest.mark.django_db
LABELS = {"job": "node", "instance": "nas:9100"}


@pytest.fixture
def prometheus(settings) -> Iterator[FakePrometheus]:
    fake = FakePrometheus(paths={"targets": {"activeTargets": []}, "rules": {"groups": []}})
    with serving(fake) as served:
        settings.PROMETHEUS_URL = served.url
        yield served


@pytest.fixture
def alertmanager(settings) -> Iterator[list[dict[str, Any]]]:
    """The alerts that Alertmanager's API lists."""
    with serving_alertmanager() as fake:
        settings.ALERTMANAGER_URL = fake.url
        yield fake.alerts


@pytest.fixture
def not_the_first() -> None:
    Job.objects.create(name="health_check", last_finished_at=timezone.now())


def down(**labels: str) -> dict[str, Any]:
    return {
        "labels": {**LABELS, **labels},
        "health": "down",
        "lastError": "connection refused",
        "lastScrape": "2026-01-01T00:00:00Z",
        "scrapeUrl": "http://nas:9100/metrics",
    }


def listing(*containers: tuple[str, str, str | None], errors: dict[str, str] | None = None) -> Any:
    found = tuple(
        docker.ContainerFacts(
            key=f"docker:h/{name}",
            host="h",
            name=name,
            id=name,
            image="image",
            image_id="image",
            labels={},
            status=status,
            health=state,
            ports=(),
            published_ports=(),
            created="",
            restart_policy="no",
        )
        for name, status, state in containers
    )
    return docker.Listing(found, errors or {})


@pytest.fixture
def containers(settings, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the engines list; replace its one member."""
    listed = [listing()]
    settings.DOCKER_HOSTS = {"h": "unix:///nowhere"}
    monkeypatch.setattr(docker, "list_containers", lambda: listed[0])
    return listed


@pytest.mark.usefixtures("not_the_first", "containers", "prometheus")
def test_no_issues_open_no_incident() -> None:
    assert health.run() == {"findings": {"prometheus": 0, "docker": 0}, "incidents": [], "errors": {}}
    assert Incident.objects.count() == 0


@pytest.mark.usefixtures("not_the_first")
def test_a_target_that_is_down_opens_an_incident_once_and_ends_with_it(prometheus: FakePrometheus) -> None:
    prometheus.paths["targets"] = {"activeTargets": [down()]}
    [first] = health.run()["incidents"]
    assert health.run()["incidents"] == [first]
    episode = Episode.objects.get()
    assert cases.expression_of(episode) == 'up{job="node", instance="nas:9100"} == 0'
    prometheus.paths["targets"] = {"activeTargets": []}
    health.run()
    assert not Episode.objects.firing().exists()


@pytest.mark.usefixtures("not_the_first")
def test_what_an_alert_told_already_is_no_second_incident(prometheus: FakePrometheus) -> None:
    an_episode(an_incident(), labels={"alertname": "NodeDown", **LABELS})
    prometheus.paths["targets"] = {"activeTargets": [down()]}
    health.run()
    assert Incident.objects.count() == 1


@pytest.mark.usefixtures("not_the_first")
def test_sick_containers_are_found_and_stopped_ones_are_not(containers: list[Any]) -> None:
    containers[0] = listing(
        ("a", "running", "unhealthy"),
        ("b", "restarting", None),
        ("c", "exited", None),
        ("d", "running", "healthy"),
    )
    health.run()
    names = sorted(Incident.objects.values_list("alert_name", "target__key"))
    assert names == [("ContainerRestarting", "docker:h/b"), ("ContainerUnhealthy", "docker:h/a")]


@pytest.mark.usefixtures("not_the_first")
def test_a_host_that_is_silent_resolves_nothing(containers: list[Any]) -> None:
    containers[0] = listing(("a", "running", "unhealthy"))
    health.run()
    containers[0] = listing(errors={"h": "cannot reach h"})
    assert health.run()["errors"] == {"docker": "cannot reach h"}
    assert Episode.objects.firing().count() == 1


@pytest.mark.usefixtures("not_the_first")
def test_while_something_does_not_answer_it_looks_again_soon(containers: list[Any], settings: Any) -> None:
    settings.HEALTH_CHECK_SECONDS = 300

    def due_in() -> float:
        Job.objects.update(due_at=timezone.now())
        job = Job.objects.get(name="health_check")
        jobs.run(job.pk)
        job.refresh_from_db()
        return (job.due_at - timezone.now()).total_seconds()

    containers[0] = listing(errors={"h": "cannot reach h"})
    assert due_in() <= 30
    containers[0] = listing()
    assert due_in() > 200


@pytest.mark.usefixtures("not_the_first")
def test_an_alert_that_no_delivery_brought_is_taken_from_alertmanager(
    alertmanager: list[dict[str, Any]],
) -> None:
    alertmanager += [
        active("missed"),
        active("young", startsAt=timezone.now().isoformat()),  # its delivery may be on the way
        active("over", endsAt=(timezone.now() - timedelta(seconds=1)).isoformat()),
    ]
    health.run()
    assert [row.fingerprint for row in Episode.objects.all()] == ["missed"]
    health.run()
    assert Episode.objects.count() == 1


def test_what_fires_at_the_very_first_check_is_adopted_with_one_summary(
    alertmanager: list[dict[str, Any]], settings
) -> None:
    settings.NOTIFY_URLS = []
    alertmanager += [active(f"f{n}", labels={"alertname": f"A{n}", "severity": "critical"}) for n in range(3)]
    jobs.ensure()
    jobs.run(Job.objects.get(name="health_check").pk)
    assert Incident.objects.filter(adopted=True).count() == 3
    assert Notification.objects.get().title == "3 alerts fired already when homelab started"
    alertmanager.append(active("later"))
    jobs.request("health_check", by="alice")
    jobs.run(Job.objects.get(name="health_check").pk)
    assert Incident.objects.filter(adopted=False).count() == 1


@pytest.mark.usefixtures("not_the_first")
def test_a_watchdog_that_falls_silent_is_an_incident(settings) -> None:
    settings.WATCHDOG_SECONDS = 60
    dog = an_episode(an_incident(), alert_name="Watchdog")
    Episode.objects.filter(pk=dog.pk).update(
        incident=None, last_seen_at=timezone.now() - timedelta(minutes=2)
    )
    health.run()
    incident = Incident.objects.get(alert_name="WatchdogSilent")
    assert incident.severity == "critical"
    assert proof.observe(incident).state == "firing"
    Episode.objects.filter(pk=dog.pk).update(last_seen_at=timezone.now())
    health.run()
    assert proof.observe(incident).state == "cleared"
    assert not incident.episodes.firing().exists()


@pytest.mark.usefixtures("not_the_first")
def test_a_watchdog_that_alertmanager_says_is_resolved_is_silent_too(settings) -> None:
    """Prometheus died: its alerts expire in Alertmanager, and the watchdog is one of them."""
    settings.WATCHDOG_SECONDS = 60
    long_ago = timezone.now() - timedelta(minutes=9)
    dog = an_episode(an_incident(), alert_name="Watchdog", ends_at=long_ago + timedelta(minutes=5))
    Episode.objects.filter(pk=dog.pk).update(incident=None, last_seen_at=long_ago)
    tombstone = an_episode(an_incident(), alert_name="NodeDown", ends_at=long_ago)
    Episode.objects.filter(pk=tombstone.pk).update(incident=None, last_seen_at=long_ago)
    health.run()
    incident = Incident.objects.get(source=health.SOURCE)
    assert incident.alert_name == "WatchdogSilent"
    again = an_episode(an_incident(), alert_name="Watchdog", fingerprint=dog.fingerprint)
    Episode.objects.filter(pk=again.pk).update(incident=None)
    assert proof.observe(incident).state == "cleared"
    health.run()
    assert not incident.episodes.firing().exists()


@pytest.mark.usefixtures("not_the_first")
def test_a_watchdog_that_only_the_list_brings_is_heard_there(
    alertmanager: list[dict[str, Any]], settings
) -> None:
    settings.WATCHDOG_SECONDS = 60
    alertmanager.append(active("dog", labels={"alertname": "Watchdog"}))
    health.run()
    Episode.objects.update(last_seen_at=timezone.now() - timedelta(minutes=9))
    Job.objects.create(name=reconcile.JOB, result={"polls": []})
    reconcile.run()
    health.run()
    assert not Incident.objects.exists()


@pytest.mark.usefixtures("not_the_first")
def test_what_a_person_called_a_false_alarm_opens_nothing_at_the_next_check(containers: list[Any]) -> None:
    containers[0] = listing(("a", "running", "unhealthy"))
    health.run()
    services.annotate(Incident.objects.get(), by="robin", verdict=Verdict.FALSE_ALARM)
    health.run()
    assert Incident.objects.get().verdict == Verdict.FALSE_ALARM


def test_what_is_adopted_is_told_in_the_same_transaction(
    alertmanager: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    alertmanager.append(active("a"))

    def killed(adopted: list[Incident]) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(notifications, "tell_summary", killed)
        with pytest.raises(RuntimeError):
            health.run()
    assert not Incident.objects.exists()
    health.run()
    assert Notification.objects.get().title == "1 alerts fired already when homelab started"


@pytest.fixture
def fired_again() -> Episode:
    return an_episode(an_incident(), ends_at=timezone.now(), contested_at=timezone.now(), fingerprint="again")


def test_alertmanagers_word_settles_a_contested_alert(
    fired_again: Episode, alertmanager: list[dict[str, Any]]
) -> None:
    alertmanager.append(active("again"))
    contested.settle(fired_again.pk)
    fired_again.refresh_from_db()
    assert fired_again.ends_at is None


def test_a_contested_alert_that_alertmanager_does_not_list_stays_ended(
    fired_again: Episode, alertmanager: list[dict[str, Any]]
) -> None:
    contested.settle(fired_again.pk)
    fired_again.refresh_from_db()
    assert fired_again.ends_at is not None
    assert fired_again.contested_at is None


def test_when_nobody_can_be_asked_for_a_minute_the_alert_is_believed(fired_again: Episode) -> None:
    contested.settle(fired_again.pk)
    fired_again.refresh_from_db()
    assert fired_again.contested_at is not None
    now = timezone.now()
    Episode.objects.update(
        contested_at=now - timedelta(seconds=61), asked_at=now - contested.ASK_AGAIN - timedelta(seconds=1)
    )
    contested.settle(fired_again.pk)
    fired_again.refresh_from_db()
    assert fired_again.ends_at is None
    assert "nobody could be asked" in Event.objects.filter(kind="contested").latest("id").text
