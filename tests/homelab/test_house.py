"""The papers are in order: what the documents promise is what the code has."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("homelab", "incidents", "agents", "metrics")
ENV = ROOT / "homelab" / "env.py"
READERS = {node.name for node in ast.parse(ENV.read_text()).body if isinstance(node, ast.FunctionDef)}
PACKAGES = {
    "django",
    "celery",
    "gunicorn",
    "docker",
    "apprise",
    "openai",
    "qdrant-client",
    "opentelemetry-api",
}
MOST_LINES_OF_CODE = 400
MOST_LINES_OF_FUNCTION = 60


def variables_read(path: Path) -> set[str]:
    """The names that calls such as `number("NAME", 3)` read; computed names are not for people to set."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            not isinstance(node, ast.Call)
            or not isinstance(node.func, ast.Name)
            or node.func.id not in READERS
        ):
            continue
        texts = [
            arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
        ]
        found |= {text for text in texts[:1] if re.fullmatch(r"[A-Z][A-Z0-9_]+", text)}
    return found


def read_in_homelab() -> set[str]:
    return set().union(*(variables_read(path) for path in (ROOT / "homelab").glob("*.py")))


def test_env_example_has_every_variable_with_a_word_on_it() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    named = [re.match(r"#([A-Z][A-Z0-9_]+)=", line) for line in lines]
    names = {match[1] for match in named if match}
    assert names == read_in_homelab()
    assert all(not line or line.startswith("#") for line in lines), "an example sets nothing"


def test_the_readme_has_every_variable() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in sorted(read_in_homelab()) if f"`{name}`" not in readme] == []


def requirement_lines(name: str) -> Iterator[tuple[str, str, str]]:
    for line in (ROOT / name).read_text().splitlines():
        if line and not line.startswith(("#", "-r")):
            requirement, _, reason = line.partition("#")
            package = re.split(r"[\[<>=!~ ]", requirement, maxsplit=1)[0]
            yield package, requirement.strip(), reason.strip()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements-model.txt"])
def test_every_requirement_has_bounds_and_a_reason(name: str) -> None:
    for package, requirement, reason in requirement_lines(name):
        assert re.search(r">=|==", requirement), requirement
        # calendar versions have no breaking release to stay below
        assert re.search(r"<|==", requirement) or package.startswith(("types-", "drf-spectacular-sidecar"))
        assert reason, requirement


def test_the_packages_that_the_design_names_are_there() -> None:
    assert {package for package, _, _ in requirement_lines("requirements.txt")} >= PACKAGES


def test_the_version_is_the_changelogs_first() -> None:
    first = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None
    assert first[1] == settings.VERSION


@pytest.mark.django_db
def test_health_says_the_version(client: object) -> None:
    answer = client.get("/health").json()  # type: ignore[attr-defined]
    assert (answer["service"], answer["version"]) == ("homelab-ai-agents", settings.VERSION)


@pytest.mark.parametrize("target", ["run", "test", "check", "demo", "bench", "clean"])
def test_make_targets_are_there(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert re.search(rf"^\.PHONY:.*\b{target}\b", makefile, re.MULTILINE)


def test_what_make_runs_exists() -> None:
    for module in re.findall(r"-m ((?:homelab|tests)[\w.]*)", (ROOT / "Makefile").read_text()):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


def sources() -> Iterator[Path]:
    for app in SOURCES:
        yield from (path for path in sorted((ROOT / app).rglob("*.py")) if "migrations" not in path.parts)


def code_lines(path: Path) -> int:
    """Lines with code: neither blank nor a comment; a docstring's count."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    with tokenize.open(path) as stream:
        tokens = [token for token in tokenize.generate_tokens(stream.readline) if token.type not in skipped]
    return len({number for token in tokens for number in range(token.start[0], token.end[0] + 1)})


def test_no_file_is_too_long() -> None:
    assert [str(path) for path in sources() if code_lines(path) > MOST_LINES_OF_CODE] == []


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MOST_LINES_OF_FUNCTION
    ]
    assert long == []


def _length(node: ast.FunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1
