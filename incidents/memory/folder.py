"""The Markdown files of a folder: read, or skipped for a reason. Nothing outside the folder is read."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from incidents.memory.markdown import Document, parse

SUFFIXES = (".md", ".markdown")
ENDING = re.compile(r"\.(?:md|markdown|html?)$", re.IGNORECASE)  # a link to it may have another one
MAX_BYTES = 1_000_000
MAX_FILES = 2000
UNTITLED = frozenset({"readme", "index", "_index"})  # these are called as their folder is


@dataclass(frozen=True, slots=True)
class File:
    """`path`: relative, with slashes."""

    path: str
    document: Document

    @property
    def name(self) -> str:
        return place_of(self.path)[-1]


@dataclass(frozen=True, slots=True)
class Skipped:
    """`unknown`: it may be as it was, for it could not be read."""

    path: str
    reason: str
    unknown: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Look:
    """A look at a folder. `signature` differs when a file may have changed."""

    paths: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    signature: str


def place_of(path: str) -> tuple[str, ...]:
    """The pieces of a file's path, or of a link's, with what it is known as for the last: its name, or its
    folder's where that says nothing."""
    *folders, last = path.split("/")
    stem = ENDING.sub("", last)
    return tuple(folders) if folders and stem.casefold() in UNTITLED else (*folders, stem)


def look(folder: Path) -> Look:
    """What there is, without reading it. Raises OSError when the folder itself cannot be read."""
    root = folder.resolve()
    os.listdir(root)  # `walk` would call a folder that is not there an empty one
    found: list[str] = []
    skipped: list[Skipped] = []
    marks: list[str] = []
    for path, name in sorted(_files(root, skipped)):
        checked = _checked(path, name, root)
        if isinstance(checked, Skipped):
            skipped.append(checked)
        elif len(found) == MAX_FILES:
            skipped.append(Skipped(name, f"there are more than {MAX_FILES} files", unknown=True))
        else:
            found.append(name)
            marks.append(f"{name}\0{checked[1].st_mtime_ns}\0{checked[1].st_size}")
    marks += map(str, skipped)
    digest = hashlib.sha256("\n".join(marks).encode(errors="surrogatepass")).hexdigest()
    return Look(tuple(found), tuple(skipped), digest)


def read(folder: Path, path: str) -> File | Skipped:
    """One of the paths that `look` found; since then it may have become another file, or a link."""
    root = folder.resolve()
    checked = _checked(root / path, path, root)
    if isinstance(checked, Skipped):
        return checked
    target, _ = checked
    try:
        with open(target, "rb", opener=lambda *_: _open(root, target)) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return Skipped(path, "is no file")
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        return Skipped(path, f"cannot be read: {error.strerror}", unknown=True)
    if len(raw) > MAX_BYTES:
        return Skipped(path, f"is larger than {MAX_BYTES} bytes")
    if b"\0" in raw:
        return Skipped(path, "is no text")
    try:
        return File(path, parse(raw.decode("utf-8"), place_of(path)[-1]))
    except UnicodeDecodeError:
        return Skipped(path, "is not UTF-8")


def _files(root: Path, skipped: list[Skipped]) -> Iterator[tuple[Path, str]]:
    """Markdown files with their relative names. What begins with a dot is left out, as `.git` is."""

    def unreadable(error: OSError) -> None:
        name = os.path.relpath(error.filename, root)
        skipped.append(Skipped(_shown(name), f"cannot be read: {error.strerror}", unknown=True))

    for here, folders, names in os.walk(root, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if (Path(here) / name).is_symlink():
                skipped.append(Skipped(_shown(_relative(here, name, root)), "is a link to a folder"))
        for name in names:
            if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                yield Path(here) / name, _relative(here, name, root)


def _relative(here: str, name: str, root: Path) -> str:
    return (Path(here) / name).relative_to(root).as_posix()


def _open(root: Path, target: Path) -> int:
    """A descriptor of what is at `target` below `root`, reached without a link: whoever puts one there after
    it was resolved gets an OSError."""
    below = os.open(root, os.O_RDONLY)
    for part in target.relative_to(root).parts:
        above = below
        try:
            below = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=above)
        finally:
            os.close(above)
    return below


def _checked(path: Path, name: str, root: Path) -> tuple[Path, os.stat_result] | Skipped:
    """The file itself, and what its file system says of it; Skipped when it is not to be read."""
    if _shown(name) != name:
        return Skipped(_shown(name), "its name is not UTF-8")
    try:
        target = path.resolve(strict=True)
        found = target.stat()
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, up to Python 3.12
        return Skipped(name, f"cannot be read: {getattr(error, 'strerror', None) or error}", unknown=True)
    if not target.is_relative_to(root):
        return Skipped(name, "is a link out of the folder")
    if not stat.S_ISREG(found.st_mode):
        return Skipped(name, "is no file")
    if found.st_size > MAX_BYTES:
        return Skipped(name, f"is larger than {MAX_BYTES} bytes")
    return target, found


def _shown(name: str) -> str:
    return name.encode("utf-8", "replace").decode()
