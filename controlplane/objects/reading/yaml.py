"""One YAML or JSON document to plain JSON values, under guard: depth, aliases, duplicate keys, scalars as kubectl reads them.

The events come from libyaml's parser, which is safe at any depth; its own constructor is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, cast

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError as OtherYAMLError

from controlplane.objects.reading.sanitize import MAX_DEPTH

_MAX_INT = 2**63
_MAX_DIGITS = 400  # of a number; longer plain text is no number
_KUBECTL_READS = ("found unexpected ':'", "did not find expected node content")  # what libyaml says of `[001:db8::]` and of `[::1]`
_MAX_SECOND_TRY = 1 << 16  # characters: the other parser is a hundred times slower
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
# As kubectl: YAML 1.1's words, without its dates and its numbers to the base of sixty. https://github.com/kubernetes-sigs/yaml
_TRUE = frozenset(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
_FALSE = frozenset(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))
_TYPED = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)\Z")
_OTHER_BASE = re.compile(r"[-+]?0(x[0-9a-fA-F_]+|b[01_]+|o?[0-7_]+)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")


class UnreadableError(Exception):
    """A document that cannot be read: why, and on which of its lines, from 0."""

    def __init__(self, message: str, line: int) -> None:
        """Say ``message`` of ``line``."""
        super().__init__(message)
        self.line = line


class _Mark(Protocol):
    @property
    def line(self) -> int: ...


class _Event(Protocol):
    """An event of libyaml's parser or of ruamel's; PyYAML's stubs leave its marks untyped."""

    @property
    def start_mark(self) -> _Mark: ...


@dataclass(slots=True)
class Composed:
    """A document's value; where it is wanted, the line of each field path, from 0."""

    value: object = None
    line: int = 0
    lines: dict[str, int] = field(default_factory=dict)


def compose(text: str, *, with_lines: bool = False) -> Composed | None:
    """Return the only document of ``text``, or ``None`` where there is none.

    What libyaml refuses and kubectl reads (a plain ``001:db8::`` in a flow sequence) gets a second try. Raises UnreadableError.
    """
    try:
        return _Composer(cast("Iterator[_Event]", yaml.parse(text, Loader=yaml.CSafeLoader)), with_lines=with_lines).document()
    except yaml.YAMLError as error:
        if getattr(error, "problem", None) not in _KUBECTL_READS or len(text) > _MAX_SECOND_TRY:
            raise _unreadable(error) from None
        try:
            return _Composer(YAML(typ="safe", pure=True).parse(text), with_lines=with_lines).document()
        except (OtherYAMLError, ValueError, RecursionError):
            raise _unreadable(error) from None
    except UnicodeEncodeError:
        raise UnreadableError("expected valid Unicode, found half of a surrogate pair", 0) from None


def _unreadable(error: yaml.YAMLError) -> UnreadableError:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not understood"
    return UnreadableError(f"not valid YAML: {problem}", mark.line if mark else 0)


class _Composer:
    """Builds the value of one document from its events, without recursion deeper than the guard allows."""

    def __init__(self, events: Iterator[_Event], *, with_lines: bool) -> None:
        self._events = events
        self._with_lines = with_lines
        self._composed = Composed()

    def document(self) -> Composed | None:
        for event in self._events:
            name = type(event).__name__
            if name == "DocumentStartEvent":
                first = next(self._events)
                self._composed.line = first.start_mark.line
                self._composed.value = self._node(first, "", 0)
                for rest in self._events:
                    if type(rest).__name__ == "DocumentStartEvent":
                        raise UnreadableError("expected one document", rest.start_mark.line)
                return self._composed
        return None

    def _node(self, event: _Event, path: str, depth: int) -> object:
        if self._with_lines:
            self._composed.lines.setdefault(path, event.start_mark.line)
        if depth > MAX_DEPTH:
            raise UnreadableError(f"expected at most {MAX_DEPTH} levels", event.start_mark.line)
        match type(event).__name__:
            case "ScalarEvent":
                return _scalar(event)
            case "SequenceStartEvent":
                return self._sequence(path, depth)
            case "MappingStartEvent":
                return self._mapping(path, depth)
            case _:
                raise UnreadableError("expected no aliases (*name): write the value out", event.start_mark.line)

    def _sequence(self, path: str, depth: int) -> list[object]:
        items: list[object] = []
        while type(event := next(self._events)).__name__ != "SequenceEndEvent":
            items.append(self._node(event, f"{path}[{len(items)}]" if self._with_lines else "", depth + 1))
        return items

    def _mapping(self, path: str, depth: int) -> dict[str, object]:
        mapping: dict[str, object] = {}
        while type(event := next(self._events)).__name__ != "MappingEndEvent":
            key = _key(event)
            if key in mapping:
                raise UnreadableError(f"expected each key once, found {key[:80]!r} again", event.start_mark.line)
            key_path = (f"{path}.{key}" if path else key) if self._with_lines else ""
            if self._with_lines:
                self._composed.lines[key_path] = event.start_mark.line
            mapping[key] = self._node(next(self._events), key_path, depth + 1)
        return mapping


def _key(event: _Event) -> str:
    if type(event).__name__ != "ScalarEvent":
        raise UnreadableError("expected a plain key", event.start_mark.line)
    value = _scalar(event)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def _scalar(event: _Event) -> object:
    text: str = getattr(event, "value", "")
    line = event.start_mark.line
    if "\0" in text:
        raise UnreadableError("expected no NUL characters", line)
    plain, _ = getattr(event, "implicit", (True, True))
    tag = getattr(event, "tag", None)
    typed = plain if tag is None else str(tag) in _TYPED
    return _plain(text, line) if typed else text


def _plain(text: str, line: int) -> object:
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if len(text) > _MAX_DIGITS:
        if _INT.match(text) or _OTHER_BASE.match(text):
            raise UnreadableError("expected an integer that fits 64 bits", line)
        return text
    if _INT.match(text):
        return _bounded(int(text.replace("_", "")), line)
    if _OTHER_BASE.match(text):
        digits = text.replace("_", "")
        octal = re.fullmatch(r"([-+]?)0([0-7]+)", digits)
        return _bounded(int(f"{octal[1]}0o{octal[2]}", 8) if octal else int(digits, 0), line)
    if _FLOAT.match(text):
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise UnreadableError(f"expected a number that fits 64 bits, found {text[:80]}", line)
        return int(number) if number.is_integer() and abs(number) < _MAX_INT else number
    return text


def _bounded(number: int, line: int) -> int:
    if not -_MAX_INT <= number < _MAX_INT:
        raise UnreadableError("expected an integer that fits 64 bits", line)
    return number
