"""A file's text to its documents; one that cannot be read does not take the others with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.composer import Unreadable, compose

MAX_BYTES = 1 << 20  # of one document; the API server takes no larger object either
_SEPARATOR = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_HINTS = {
    name: re.compile(rf"^[ \t]*[\"']?{name}[\"']?:[ \t]*[\"']?([A-Za-z0-9.-]+)", re.MULTILINE) for name in ("kind", "namespace", "name")
}


@dataclass(frozen=True)
class Document:
    """One document of a file: its value, or why it cannot be read.

    ``line`` is where it begins in its file, from 1; ``prefix`` is its path in its text, where it is an item of a List.
    """

    text: str
    line: int
    data: Mapping[str, object] | None = None
    problem: Problem | None = None
    problem_line: int = 0
    prefix: str = ""
    offset: int = 0  # lines of the file before ``text``

    def line_of(self, path: str) -> int:
        """Return the line in the file, from 1, of the field ``path``, or of the nearest field above it that is written."""
        if self.problem is not None:
            return self.problem_line
        wanted = ".".join(part for part in (self.prefix, path) if part)
        while wanted and wanted not in self._lines:
            wanted = wanted[: max(wanted.rfind("."), wanted.rfind("["), 0)]
        return self.offset + self._lines[wanted] + 1 if wanted in self._lines else self.line

    @cached_property
    def _lines(self) -> Mapping[str, int]:
        try:
            composed = compose(self.text, with_lines=True)
        except Unreadable:
            return {}
        return composed.lines if composed else {}


def documents(text: str) -> tuple[Document, ...]:
    """Return the documents of ``text``, YAML or JSON (which is YAML), in order; the items of a List count as documents.

    Empty documents are left out. Never raises: what cannot be read is a Document with a Problem.
    """
    return tuple(each for part, offset in _parts(text) for each in _read(part, offset))


def _parts(text: str) -> Iterator[tuple[str, int]]:
    starts = [0, *(found.start() for found in _SEPARATOR.finditer(text))]
    lines = 0
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        part = text[start:end]
        if part.strip():
            yield part, lines
        lines += part.count("\n")


def _read(text: str, offset: int) -> Iterator[Document]:
    size = len(text.encode(errors="replace"))
    if size > MAX_BYTES:
        yield _broken(text, offset, f"expected a document of at most {MAX_BYTES} bytes, found {size}", 0)
        return
    try:
        composed = compose(text)
    except Unreadable as error:
        yield _broken(text, offset, str(error), error.line)
        return
    if composed is None or composed.value is None:
        return
    if not isinstance(composed.value, dict):
        yield _broken(text, offset, "expected a Kubernetes object (apiVersion, kind, metadata)", composed.line)
        return
    yield from _items(composed.value, text, offset, composed.line)


def _items(value: dict[str, object], text: str, offset: int, line: int) -> Iterator[Document]:
    items = value.get("items")
    if value.get("kind") != "List" or not isinstance(items, list):
        yield Document(text, offset + line + 1, value, offset=offset)
        return
    for at, item in enumerate(items):
        prefix = f"items[{at}]"
        whole = Document(text, offset + line + 1, offset=offset)
        if isinstance(item, dict):
            yield Document(text, whole.line_of(prefix), item, prefix=prefix, offset=offset)
        else:
            yield _broken(text, offset, f"{prefix}: expected a Kubernetes object", whole.line_of(prefix) - offset - 1)


def _broken(text: str, offset: int, message: str, line: int) -> Document:
    found = {name: match[1] for name, pattern in _HINTS.items() if (match := pattern.search(text[:4096]))}
    key = Key(found["kind"], found.get("namespace", "default"), found["name"]) if {"kind", "name"} <= found.keys() else None
    problem = Problem(key, "", Severity.ERROR, "Unreadable", message)
    return Document(text, offset + 1, problem=problem, problem_line=offset + line + 1, offset=offset)
