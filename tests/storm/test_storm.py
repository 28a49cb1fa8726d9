"""A small crash storm in either mode: what was acknowledged is there, once, and comes to its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import report, storm
from .plan import MODES, SHORT, Mode

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_lost_doubled_or_left_undone_in_a_storm_of_kills(mode: Mode, tmp_path: Path) -> None:
    result = storm.run(mode, SHORT, tmp_path, seed=1, say=print)
    print("\n".join(report.lines(result)))
    assert report.broken(result) == []
    assert result.audit.incidents == SHORT.incidents
    assert len(result.losses) >= SHORT.kills
