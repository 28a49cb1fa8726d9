"""Skip a test whose server binaries are absent; fail instead where the whole suite is demanded."""

from __future__ import annotations

import os

import pytest

from .servers import missing

TEST_ALL = "HOMELAB_TEST_ALL"


def require(*names: str) -> None:
    """Skip the running test unless every tool in ``names`` can run here (see ``servers.TOOLS``).

    With ``HOMELAB_TEST_ALL=1`` in the environment a lack is a failure: a suite that is meant
    to be complete must not turn green because its servers were not installed.
    """
    lacks = [lack for lack in map(missing, names) if lack]
    if not lacks:
        return
    reason = "; ".join(dict.fromkeys(lacks))
    if os.environ.get(TEST_ALL) == "1":
        pytest.fail(f"{TEST_ALL}=1, but {reason}", pytrace=False)
    pytest.skip(reason)
