"""`make test-model` names the model's environment; without it these tests are not collected.

They are no part of `make test`, which skips nothing where everything is demanded: what they need takes half
an hour to compile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agents.reasoners import dialects

from . import llama

collect_ignore_glob = [] if llama.python() else ["test_*.py"]
Start = Callable[..., llama.LlamaServer]


@pytest.fixture
def model(settings, tmp_path: Path) -> Iterator[Start]:
    """`model()` starts the server, with a context of so many tokens, and configures it as the main model.

    Each test has its own: one whose answer nobody waits for any more still works on it.
    """
    if why := llama.missing():
        pytest.fail(why, pytrace=False)
    dialects.forget()
    with ExitStack() as stack:
        # Room for each request here, and an end of an answer that would have none.
        def start(context: int = 2048, **options: str) -> llama.LlamaServer:
            server = stack.enter_context(llama.LlamaServer(tmp_path / "llama", context=context, **options))
            settings.OPENAI_BASE_URL, settings.OPENAI_MODEL = f"{server.url}/v1", llama.MODEL
            return server

        yield start
