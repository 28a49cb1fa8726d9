"""The whole way, walked by a person in a browser, at a desk and on a phone, with everything real.

First run, what to paste, a test alert, an outage, the question, the proof, what a person knows, the
postmortem, and the same outage again, which is recognized. Nothing is done here that a person could not do.
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import expect

from tests.homelab.program import Program
from tests.metrics.prometheus import PROMETHEUS, promtool

from .browser import chromium, window
from .process import binary
from .require import require
from .servers import Alertmanager, Docker, Prometheus, free_port, wait_until
from .walker import PATIENCE, Walker

pytestmark = pytest.mark.e2e
SERVICE = "web-one"
ALERT = "InstanceDown"  # of the first rule that the page shows
CAUSE = "The nightly backup killed it for its memory."
NOTE = "Give the backup a limit of its own."
LINE = "Asked the neighbour, who saw it too."
IMPATIENT = {
    "PROOF_HOLD_SECONDS": "3",
    "PROOF_TIMEOUT_SECONDS": "20",
    "FLAP_WINDOW_SECONDS": "0",
    "COOLDOWN_SECONDS": "0",
}
FILES = {"alertmanager": "alertmanager.yml", "prometheus": "prometheus.yml", "rule": "first.yml"}
PAGES = {  # and something that stands on each
    "service-levels": ("/slo", "How quickly, and by whom"),
    "connect": ("/connect", "The last delivery came from alertmanager"),
    "record": ("/incidents/{incident}/record", "recall_incidents"),
    "postmortem": ("/incidents/{incident}/postmortem", "Follow-ups"),
    "api-docs": ("/api/docs", "A trouble from its first alert to its verdict"),
    "admin": ("/admin/", "Maintenance windows"),
    "admin-incidents": ("/admin/incidents/incident/", "HomelabTest"),
    "admin-incident": ("/admin/incidents/incident/{incident}/change/", "The crew's word"),
    "admin-approvals": ("/admin/approvals/", "Nothing waits for you."),
    "admin-playbooks": ("/admin/playbooks/", "container_exited"),
    "admin-tools": ("/admin/tools/", "docker_inspect"),
    "admin-budgets": ("/admin/budgets/", "No model was asked today."),
    "admin-channels": ("/admin/channels/", "Where people are told."),
    "admin-doctor": ("/admin/doctor/", "Run all"),
    "admin-inventory": ("/admin/incidents/target/", SERVICE),
    "admin-autonomy": ("/admin/agents/autonomy/", ALERT),
    "admin-audit": ("/admin/incidents/event/", LINE),
    "admin-tokens": ("/admin/incidents/token/", "operator"),
}


class Homelab:
    """A container that runs, and beside it this program, installed a moment ago."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self.stack, self.directory = stack, directory
        self.docker = stack.enter_context(Docker(directory / "docker"))
        self.port = free_port()
        self.docker.run_web(SERVICE, self.port)
        # Their addresses are known before they start; what they are told is what the page will say.
        self.prometheus = Prometheus(directory / "prometheus", jobs=[], rules=[])
        self.alertmanager = Alertmanager(directory / "alertmanager", webhook_url="", token="")
        self.program = stack.enter_context(
            Program(
                directory,
                DOCKER_HOST=self.docker.url,
                PROMETHEUS_URL=self.prometheus.url,
                ALERTMANAGER_URL=self.alertmanager.url,
                **IMPATIENT,
            )
        )

    def connect(self, shown: dict[str, str]) -> None:
        """Paste what the page showed, have its makers' tools check it, and start both with it."""
        self._check(shown)
        routing, scraping = yaml.safe_load(shown["alertmanager"]), yaml.safe_load(shown["prometheus"])
        routing["route"] |= {"group_wait": "1s", "group_interval": "1s"}
        self.alertmanager.config = routing
        self.stack.enter_context(self.alertmanager)
        [rule] = yaml.safe_load(shown["rule"])["groups"][0]["rules"]
        mine = {"targets": [f"127.0.0.1:{self.port}"], "labels": {"container": SERVICE}}
        self.prometheus.jobs = [*scraping["scrape_configs"], {"job_name": "web", "static_configs": [mine]}]
        self.prometheus.rules = [rule | {"for": "1s"}]
        self.prometheus.alertmanager = self.alertmanager.url
        self.stack.enter_context(self.prometheus)
        self.wait_up("web")

    def wait_up(self, job: str) -> None:
        query = self.prometheus.query
        wait_until(lambda: query(f'up{{job="{job}"}} == 1'), 60, f"{job} is not scraped")

    def _check(self, shown: dict[str, str]) -> None:
        (self.directory / "homelab").mkdir()
        for name in ("recording.yml", "alerts.yml"):
            (self.directory / "homelab" / name).write_text((PROMETHEUS / name).read_text())
        for key, file in FILES.items():
            (self.directory / file).write_text(shown[key])
        checked = promtool("check", "config", self.directory / "prometheus.yml")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        command = [binary("amtool"), "check-config", str(self.directory / "alertmanager.yml")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def status(self) -> str:
        return str(self.docker.client.containers.get(SERVICE).status)

    def remembers(self, text: str) -> bool:
        answer = self.program.request("GET", f"/api/v1/memory?q={ALERT}", role="viewer")
        return text in answer.text


def log_in(walker: Walker, admin: dict[str, str]) -> None:
    walker.go("/")
    walker.look("login")
    walker.page.get_by_label("Name").fill(admin["username"])
    walker.page.get_by_label("Password").fill(admin["password"])
    walker.press("Log in")
    walker.page.wait_for_url(f"{walker.url}/")


def read_what_to_paste(walker: Walker, token: str) -> dict[str, str]:
    """An empty install says what to do; what its buttons copy, by the snippet's key."""
    walker.sees("Nothing has come yet")
    walker.look("first-run")
    walker.press("Make a token")
    walker.sees("shown this once")
    walker.look("token")
    walker.context.grant_permissions(["clipboard-read", "clipboard-write"])
    copied = {}
    for key, file in FILES.items():
        walker.press(f"Copy {file}")
        copied[key] = walker.page.evaluate("navigator.clipboard.readText()")
        assert copied[key] == walker.page.locator(f"#snippet-{key}").inner_text()
    assert token not in copied["alertmanager"], "the new one, not that of the first run"
    return copied


def send_a_test_alert(walker: Walker) -> None:
    """One button, and it leads to where the alert is followed."""
    walker.go("/")
    walker.press("Send a test alert and follow it")
    walker.page.wait_for_url("**/incidents/1")
    walker.sees("A test alert was sent")
    walker.stays()
    walker.look("test-alert")


def see_the_question(walker: Walker) -> None:
    """On an overview that stood open, in the admin's list, and on the admin's page of what waits."""
    walker.sees("Waiting for you")
    walker.sees(f"estart container docker:local/{SERVICE}", "#waiting")
    assert walker.stayed()
    walker.look("overview-asks")
    walker.go("/admin/approvals/")
    walker.sees("Dry run")
    walker.look("approvals")
    walker.go("/admin/incidents/incident/")
    walker.page.get_by_placeholder("Alert, target, cause or #number").fill(SERVICE)
    walker.page.keyboard.press("Enter")
    walker.page.wait_for_url("**q=*")
    walker.sees(ALERT, "#result_list")
    expect(walker.page.locator("#result_list").get_by_text("HomelabTest")).to_have_count(0)
    walker.look("admin-found")
    walker.page.locator("#result_list").get_by_role("link", name=ALERT).click()
    walker.page.wait_for_url("**/change/**")
    walker.look("admin-asked")
    walker.go("/")


def say_yes(walker: Walker, home: Homelab) -> int:
    """From the overview to the proof; the incident. The page is live from the yes to the end."""
    asked = walker.page.locator("#waiting")
    asked.get_by_role("link").first.click()
    walker.page.wait_for_url("**/incidents/*")
    walker.sees("Needs your yes", "#standing")
    walker.look("asks")
    assert home.status() == "exited"
    walker.press("Approve", "#top")
    walker.sees("Approved: ")
    walker.stays()
    walker.sees("Fixed, proven", "#standing")
    assert walker.stayed()
    assert home.status() == "running"
    expect(walker.page.get_by_role("img", name="up")).to_be_visible(timeout=PATIENCE)
    walker.look("fixed")
    return int(walker.page.url.rsplit("/", 1)[1])


def say_what_was_wrong(walker: Walker) -> None:
    walker.press("Partly right", "#you")
    walker.sees("Rated.")
    walker.page.get_by_label("The cause, as you know it").fill(CAUSE)
    walker.page.get_by_label("What to remember for the next time").fill(NOTE)
    walker.press("Save", "#you")
    walker.sees("Noted.")
    walker.page.locator("#you-note summary").click()
    walker.page.get_by_label("What happened").fill(LINE)
    walker.press("Add", "#you-note")
    walker.sees("Added to the story.")
    walker.sees(CAUSE, "#top")
    walker.look("annotated")


def read_the_postmortem(walker: Walker) -> None:
    """As a page, as it is printed, and as a file."""
    walker.page.get_by_role("link", name="Postmortem").click()
    walker.page.wait_for_url("**/postmortem")
    for told in (CAUSE, NOTE, LINE, f"restart container docker:local/{SERVICE}", "it helped"):
        walker.sees(told)
    walker.look("postmortem")
    walker.page.emulate_media(media="print")
    walker.look("postmortem-printed")
    walker.page.emulate_media(media="screen")
    with walker.page.expect_download() as download:
        walker.page.get_by_role("link", name="Markdown").click()
    text = Path(download.value.path()).read_text()
    assert download.value.suggested_filename.endswith(".md")
    assert [told for told in (CAUSE, NOTE, LINE, "restart container") if told not in text] == []


def see_it_recognized(walker: Walker, first: int) -> None:
    """The incident before is shown with why it is like this one, and with what a person said of it."""
    walker.sees(f"a person says: {CAUSE}", "#top")
    similar = walker.page.locator("#similar")
    expect(similar.get_by_role("link", name=ALERT).first).to_have_attribute("href", f"/incidents/{first}")
    for told in ("a person says:", CAUSE, NOTE, "because:"):
        walker.sees(told, "#similar")
    walker.look("similar")


def view_every_page(walker: Walker, incident: int) -> None:
    for step, (path, text) in PAGES.items():
        walker.go(path.format(incident=incident))
        walker.sees(text, "body")
        walker.look(step)


def test_a_person_walks_the_whole_way(tmp_path: Path) -> None:
    require("prometheus", "alertmanager", "docker", "busybox", "chromium")
    with ExitStack() as stack:
        home = Homelab(stack, tmp_path)
        browser = stack.enter_context(chromium())
        url, first_run = home.program.url, home.program.first_run()
        desk, phone = (
            Walker(stack.enter_context(window(browser, size=size)), url, size)
            for size in ("desktop", "phone")
        )
        log_in(desk, first_run["admin"])
        home.connect(read_what_to_paste(desk, first_run["tokens"]["ingest"]))
        send_a_test_alert(desk)
        followed = desk.new_tab()
        desk.go("/")
        desk.stays()
        home.docker.kill_process(SERVICE)
        see_the_question(desk)
        first = say_yes(desk, home)
        say_what_was_wrong(desk)
        read_the_postmortem(desk)

        log_in(phone, first_run["admin"])
        phone.look("overview")
        phone.stays()
        wait_until(lambda: home.remembers(CAUSE), 20, "what a person said is not remembered")
        home.docker.kill_process(SERVICE)
        phone.sees("Waiting for you")
        assert phone.stayed()
        phone.look("overview-asks")
        second = say_yes(phone, home)
        assert second != first
        see_it_recognized(phone, first)

        home.wait_up("ai-agents")  # as the page said, each 30 s
        desk.page = followed
        desk.sees("False alarm", "#standing")
        assert desk.stayed()
        desk.look("test-alert-over")
        for walker in (desk, phone):
            view_every_page(walker, second)


BROKEN = """
<main style="width: 3000px">wide</main>
<img src="/gone.png"><img src="http://elsewhere.example/pixel.png">
<script>console.error("complains"); throw new Error("breaks")</script>
"""


def test_a_walker_notices_what_is_wrong() -> None:
    """Or the walk would show nothing."""
    require("chromium")
    with chromium() as browser, window(browser, size="phone") as context:
        context.route(
            "**/*",
            lambda route: route.fulfill(
                status=404 if "gone" in route.request.url else 200,
                content_type="text/html",
                body=BROKEN if route.request.url.endswith("/") else "",
            ),
        )
        walker = Walker(context, "http://homelab.example", "phone")
        walker.go("/")
        with pytest.raises(AssertionError, match="pixels wide"):
            walker.look("broken")
        wrong = "\n".join(walker.wrong)
        for noticed in ("complains", "breaks", "404: http://homelab.example/gone.png", "another host"):
            assert noticed in wrong, noticed
