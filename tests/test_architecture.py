"""The house keeps its shape: imports run one way, and each foreign library has one door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
APPS = ("homelab", "incidents", "agents", "metrics")
MAY_IMPORT = {
    "incidents": {"incidents"},
    "agents": {"agents", "incidents"},
    "metrics": {"metrics", "agents", "incidents"},
    "homelab": set(APPS),
}
DOORS = {
    "openai": ("agents/reasoners/openai.py", "incidents/memory/embed_openai.py"),
    "httpx2": ("agents/reasoners/openai.py",),
    "qdrant_client": ("incidents/memory/*.py",),
    "docker": ("agents/tools/docker*.py",),
    "promql_parser": ("agents/promql.py",),
    "apprise": ("incidents/notifications.py",),
    "opentelemetry.sdk": ("homelab/*.py",),
    "onnxruntime": ("incidents/memory/*.py",),
    "detect_secrets": ("incidents/secret_rules.py",),
    "unfold": ("incidents/adminbase.py", "homelab/admin.py", "homelab/adminsite.py"),
}
# An import inside a function may hide a circle; these do not, and say so where they stand.
LATE = {
    "incidents/apps.py": "models are not importable before Django is ready",
    "agents/apps.py": "models are not importable before Django is ready",
    "homelab/apps.py": "models are not importable before Django is ready",
    "incidents/memory/embed.py": "a library that takes long to import and may never be needed",
    "incidents/memory/index.py": "a library that takes long to import and may never be needed",
}


@dataclass(frozen=True)
class Import:
    file: str
    line: int
    module: str
    in_function: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def sources() -> Iterator[Path]:
    for app in APPS:
        for path in sorted((ROOT / app).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path


def imports_of(path: Path) -> Iterator[Import]:
    file = path.relative_to(ROOT).as_posix()
    tree = ast.parse(path.read_text())
    late = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, id(node) in late)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            assert node.module is not None
            yield Import(file, node.lineno, node.module, id(node) in late)
            for alias in node.names:  # `from opentelemetry import sdk`
                yield Import(file, node.lineno, f"{node.module}.{alias.name}", id(node) in late)


IMPORTS = [each for path in sources() for each in imports_of(path)]


def is_of(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def test_there_is_something_to_look_at() -> None:
    assert {each.file.split("/")[0] for each in IMPORTS} == set(APPS)


def test_imports_run_one_way() -> None:
    wrong = [
        str(each)
        for each in IMPORTS
        if (theirs := each.module.split(".")[0]) in APPS and theirs not in MAY_IMPORT[each.file.split("/")[0]]
    ]
    assert wrong == []


@pytest.mark.parametrize("package", DOORS)
def test_a_library_has_one_door(package: str) -> None:
    wrong = [
        str(each)
        for each in IMPORTS
        if is_of(each.module, package) and not any(fnmatch(each.file, door) for door in DOORS[package])
    ]
    assert wrong == []


def test_nothing_of_ours_is_imported_inside_a_function() -> None:
    wrong = [
        str(each)
        for each in IMPORTS
        if each.in_function and each.module.split(".")[0] in APPS and each.file not in LATE
    ]
    assert wrong == []


def test_every_exception_is_still_one() -> None:
    assert set(LATE) <= {each.file for each in IMPORTS if each.in_function}


def test_the_loop_knows_nothing_of_django() -> None:
    """Not even through what it imports of ours: it is run without a database."""
    by_file: dict[str, set[str]] = {}
    for each in IMPORTS:
        by_file.setdefault(each.file, set()).add(each.module)
    seen, todo = set(), ["agents/loop.py"]
    while todo:
        file = todo.pop()
        if file in seen or file not in by_file:
            continue
        seen.add(file)
        assert not [module for module in by_file[file] if is_of(module, "django")], file
        for module in by_file[file]:
            if module.split(".")[0] in APPS:
                todo += [f"{module.replace('.', '/')}.py", f"{module.replace('.', '/')}/__init__.py"]
    assert "agents/loop.py" in seen


def test_no_module_imports_itself_in_a_circle() -> None:
    modules = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in sources()}
    names = {module.removesuffix(".__init__") for module in modules}
    uses: dict[str, set[str]] = {name: set() for name in names}
    for each in IMPORTS:
        mine = each.file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        # a package's own __init__ that names its parts is no circle
        if each.in_function or not each.module.startswith(APPS) or mine.startswith(f"{each.module}."):
            continue
        if each.module in names and each.module != mine and not each.module.startswith(f"{mine}."):
            uses[mine].add(each.module)
    assert _circle(uses) is None


def _circle(uses: dict[str, set[str]]) -> list[str] | None:
    """The first circle a depth-first walk finds."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        for other in sorted(uses[name]):
            if found := walk(other, [*path, name]):
                return found
        done.add(name)
        return None

    for name in sorted(uses):
        if found := walk(name, []):
            return found
    return None


# What changes the world, by the module that has it; `agents/changes` alone puts it into a change.
CHANGERS = {
    "docker": {"restart", "start", "stop"},
    "docker_changes": {"restart", "start", "stop"},
    "alertmanager": {"create_silence"},
    "process": {"run"},
    "http": {"post_json"},
}
MAY_CHANGE = (
    "agents/changes/*.py",
    "agents/tools/docker.py",
    "agents/tools/docker_changes.py",
    "agents/tools/alertmanager.py",
)


def _names_a_changer(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}" if node.attr in CHANGERS.get(node.value.id, ()) else None
    if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("agents."):
        module = node.module.rpartition(".")[2]
        wrong = {alias.name for alias in node.names} & CHANGERS.get(module, set())
        return f"{module}: {', '.join(sorted(wrong))}" if wrong else None
    return None


def _runs_a_change(node: ast.AST) -> bool:
    """`spec.run`, `spec_of(action).run`, `SPECS[kind].run`."""
    if not isinstance(node, ast.Attribute) or node.attr != "run":
        return False
    return "spec" in ast.unparse(node.value).lower()


def test_only_the_executor_runs_a_change_and_only_changes_hold_what_changes_the_world() -> None:
    running, holding = set(), []
    for path in sources():
        file = path.relative_to(ROOT).as_posix()
        if not file.startswith("agents/"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if _runs_a_change(node):
                running.add(file)
            if (name := _names_a_changer(node)) and not any(fnmatch(file, each) for each in MAY_CHANGE):
                holding.append(f"{file} names {name}")
    assert running == {"agents/executor.py"}
    assert holding == []


def test_agents_and_their_tools_hold_no_change() -> None:
    """Whoever reasons, and what it is offered, knows nothing of how a change is done."""
    wrong = [
        str(each)
        for each in IMPORTS
        if is_of(each.module, "agents.changes") or is_of(each.module, "agents.executor")
        if each.file.startswith(("agents/reasoners/", "agents/tools/", "agents/playbooks/", "agents/loop"))
    ]
    assert wrong == []
