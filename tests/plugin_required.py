"""Nothing is skipped in silence: a loud list at the end, and a failure where the whole suite is demanded."""

from __future__ import annotations

import os

import pytest
from _pytest.terminal import TerminalReporter

TEST_ALL = "HOMELAB_TEST_ALL"


def demanded() -> bool:
    return os.environ.get(TEST_ALL) == "1"


def reasons(reporter: TerminalReporter) -> dict[str, int]:
    """Why tests were skipped, and how many for each reason."""
    counts: dict[str, int] = {}
    for report in reporter.stats.get("skipped", []):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        why = why.removeprefix("Skipped: ")
        counts[why] = counts.get(why, 0) + 1
    return counts


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    # the workers of xdist have no reporter; their reports reach the one of the controller
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if isinstance(reporter, TerminalReporter) and demanded() and reasons(reporter):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    found = reasons(terminalreporter)
    if not found:
        return
    colour = {"red": True} if demanded() else {"yellow": True}
    terminalreporter.write_sep("=", f"NOT TESTED: {sum(found.values())} skipped", bold=True, **colour)
    for why, count in sorted(found.items()):
        terminalreporter.write_line(f"{count:4} tests: {why}", **colour)
    if demanded():
        terminalreporter.write_line(f"{TEST_ALL}=1 allows none of this", red=True, bold=True)
