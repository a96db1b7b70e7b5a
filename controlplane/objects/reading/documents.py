"""A file's text to its documents; one that cannot be read does not take the others with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.reading.json import decode_json, looks_like_json
from controlplane.objects.reading.yaml import Composed, UnreadableError, compose
from controlplane.objects.types.names import object_namespace

MAX_BYTES = 1 << 20  # of one document; the API server takes no larger object either
_SEPARATOR = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
# Comments, and directives before a document. Possessive: nothing is to be gained by trying a line in another way.
_NOTHING = re.compile(r"(?:[ \t\r]*+(?:[#%][^\n]*+)?+\n)*+[ \t\r]*+(?:[#%][^\n]*+)?+\Z")
_KIND = re.compile(r"^[\"']?kind[\"']?:[ \t]*[\"']?([A-Za-z0-9]+)", re.MULTILINE)
_GROUP = re.compile(r"^[\"']?apiVersion[\"']?:[ \t]*[\"']?([a-z0-9.-]+)/", re.MULTILINE)
_METADATA = re.compile(r"^[\"']?metadata[\"']?:(.*(?:\n(?:[ \t].*)?)*)", re.MULTILINE)
_HINT = r"%s[\"']?%s[\"']?:[ \t]*[\"']?([A-Za-z0-9.-]+)"


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
        """Return the line in the file, from 1, of the field ``path``, or of the nearest field above it that is written.

        The first question reads the text again; documents without Problems are never asked.
        """
        if self.problem is not None:
            return self.problem_line
        wanted = f"{self.prefix}.{path}" if self.prefix and path else self.prefix or path
        while wanted and wanted not in self._lines:
            wanted = wanted[: max(wanted.rfind("."), wanted.rfind("["), 0)]
        return self.offset + self._lines[wanted] + 1 if wanted in self._lines else self.line

    @cached_property
    def _lines(self) -> Mapping[str, int]:
        try:
            composed = compose(self.text, with_lines=True)
        except UnreadableError:
            return {}
        return composed.lines if composed else {}


def documents(text: str | bytes) -> tuple[Document, ...]:
    """Return the documents of ``text``, YAML or JSON, in order; the items of a List count as documents.

    Empty documents are left out. Never raises: what cannot be read is a Document with a Problem.
    """
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        before = error.object[: error.start].count(b"\n")
        return (_broken(error.object.decode(errors="replace"), 0, "expected UTF-8", before),)
    parts = document_parts(decoded.removeprefix("\ufeff"))
    return tuple(document for part, offset in parts for document in documents_of_part(part, offset))


def document_parts(text: str) -> Iterator[tuple[str, int]]:
    """Yield the texts between separators, each with the lines before it: no scalar may hold a line that begins with ``---``."""
    starts = [0, *(separator.start() for separator in _SEPARATOR.finditer(text))]
    lines = 0
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        part = text[start:end]
        if not _NOTHING.match(part):
            yield part, lines
        lines += part.count("\n")


def documents_of_part(text: str, offset: int) -> Iterator[Document]:
    """Yield the documents of ``text``, a part of a file with ``offset`` lines before it: one, the items of a List, or none."""
    size = len(text.encode(errors="replace"))
    if size > MAX_BYTES:
        yield _broken(text, offset, f"expected a document of at most {MAX_BYTES} bytes, found {size}", 0)
        return
    try:
        composed = _composed(text)
    except UnreadableError as error:
        yield _broken(text, offset, str(error), error.line)
        return
    if composed is None or composed.value is None:
        return
    if not isinstance(composed.value, dict):
        yield _broken(text, offset, "expected a Kubernetes object (apiVersion, kind, metadata)", composed.line)
        return
    yield from _items(Document(text, offset + composed.line + 1, composed.value, offset=offset))


def _composed(text: str) -> Composed | None:
    if looks_like_json(text):
        try:
            return Composed(decode_json(text), line=text[: len(text) - len(text.lstrip())].count("\n"))
        except ValueError:  # YAML that begins as JSON does, or neither: its message names the line
            return compose(text)
    return compose(text)


def _items(document: Document) -> Iterator[Document]:
    data = document.data or {}
    kind, items = data.get("kind"), data.get("items")
    if not isinstance(kind, str) or not kind.endswith("List") or not isinstance(items, list):
        yield document
        return
    for index, item in enumerate(items):
        prefix = f"items[{index}]"
        line = document.line_of(prefix)
        if isinstance(item, dict):
            yield Document(document.text, line, item, prefix=prefix, offset=document.offset)
        else:
            yield _broken(document.text, document.offset, f"{prefix}: expected a Kubernetes object", line - document.offset - 1)


def _broken(text: str, offset: int, message: str, line: int) -> Document:
    problem = Problem(_guessed_key(text[:4096]), "", Severity.ERROR, "Unreadable", message)
    return Document(text, offset + 1, problem=problem, problem_line=offset + line + 1, offset=offset)


def _guessed_key(text: str) -> Key | None:
    """Return whose document ``text`` may be, going by its lines alone: it cannot be read."""
    kind, metadata = _KIND.search(text), _METADATA.search(text)
    if not kind or not metadata:
        return None
    indented = re.search(r"^[ \t]+(?=[^ \t\r\n#])", metadata[1].partition("\n")[2], re.MULTILINE)
    flow = "{" in metadata[1].partition("\n")[0]
    before = r"[{,][ \t]*" if flow or not indented else f"^{indented[0]}"
    name, namespace = (re.search(_HINT % (before, field), metadata[1], re.MULTILINE) for field in ("name", "namespace"))
    if not name:
        return None
    group = _GROUP.search(text)
    return Key(kind[1], object_namespace(kind[1], namespace[1] if namespace else ""), name[1], group[1] if group else "")
