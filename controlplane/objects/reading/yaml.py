"""One YAML or JSON document to plain JSON values, under guard: depth, aliases, duplicate keys, scalars as kubectl reads them.

The events come from libyaml's parser, which is safe at any depth; its own constructor is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, cast

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError as OtherYAMLError

from controlplane.errors import UserError
from controlplane.objects.reading.sanitize import MAX_DEPTH

_MAX_INT = 2**63
_MAX_DIGITS = 400  # of a number; longer plain text is no number
_KUBECTL_READS = ("found unexpected ':'", "did not find expected node content")  # what libyaml says of `[001:db8::]` and of `[::1]`
_MAX_GROWTH = 20  # times the length of a document: all that its aliases stand for, written out
_MERGE = "<<"  # https://yaml.org/type/merge.html, which kubectl knows
_MAX_SECOND_TRY = 1 << 16  # characters: the other parser is a hundred times slower
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
# As kubectl: YAML 1.1's words, without its dates and its numbers to the base of sixty. https://github.com/kubernetes-sigs/yaml
_TRUE = frozenset(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
_FALSE = frozenset(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))
_TYPED = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)\Z")
_OTHER_BASE = re.compile(r"[-+]?0(x[0-9a-fA-F_]+|b[01_]+|o?[0-7_]+)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")


class UnreadableError(UserError):
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
        return _Composer(cast("Iterator[_Event]", yaml.parse(text, Loader=yaml.CSafeLoader)), len(text), with_lines=with_lines).document()
    except yaml.YAMLError as error:
        if getattr(error, "problem", None) not in _KUBECTL_READS or len(text) > _MAX_SECOND_TRY:
            raise _unreadable(error) from None
        try:
            return _Composer(YAML(typ="safe", pure=True).parse(text), len(text), with_lines=with_lines).document()
        except (OtherYAMLError, ValueError, RecursionError):
            raise _unreadable(error) from None
    except UnicodeEncodeError:
        raise UnreadableError("expected valid Unicode, found half of a surrogate pair", 0) from None


def _unreadable(error: yaml.YAMLError) -> UnreadableError:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not understood"
    return UnreadableError(f"not valid YAML: {problem}", mark.line if mark else 0)


class _Anchored(NamedTuple):
    """What an anchor names: its value, how many characters it has when written out, and how many levels."""

    value: object
    size: int
    levels: int


class _Composer:
    """Builds the value of one document from its events, without recursion deeper than the guard allows.

    What aliases stand for is the same value again, and counted as if it were written out: nobody who walks it walks for long.
    """

    def __init__(self, events: Iterator[_Event], length: int, *, with_lines: bool) -> None:
        self._events = events
        self._most_aliased = _MAX_GROWTH * length
        self._anchors: dict[str, _Anchored] = {}
        self._size = self._aliased = self._deepest = 0
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
        self._size += 1
        kind, anchor = type(event).__name__, getattr(event, "anchor", None)
        if kind == "AliasEvent":
            return self._alias(event, str(anchor), depth)
        _check_depth(event, depth)
        if anchor is None:
            self._deepest = max(self._deepest, depth)
            return self._value(event, path, depth)
        size, deepest, self._deepest = self._size, self._deepest, depth
        value = self._value(event, path, depth)
        self._anchors[str(anchor)] = _Anchored(value, self._size - size + 1, self._deepest - depth)
        self._deepest = max(deepest, self._deepest)
        return value

    def _value(self, event: _Event, path: str, depth: int) -> object:
        match type(event).__name__:
            case "SequenceStartEvent":
                return self._sequence(path, depth)
            case "MappingStartEvent":
                return self._mapping(path, depth)
            case _:
                self._size += len(getattr(event, "value", ""))
                return _scalar(event)

    def _alias(self, event: _Event, anchor: str, depth: int) -> object:
        anchored = self._anchors.get(anchor)
        if anchored is None:
            raise UnreadableError(f"expected an alias of what stands before it, found *{anchor[:80]}", event.start_mark.line)
        _check_depth(event, depth + anchored.levels)
        self._deepest = max(self._deepest, depth + anchored.levels)
        self._size += anchored.size
        self._aliased += anchored.size
        if self._aliased > self._most_aliased:
            message = f"expected aliases that make the document at most {_MAX_GROWTH} times as long"
            raise UnreadableError(message, event.start_mark.line)
        return anchored.value

    def _sequence(self, path: str, depth: int) -> list[object]:
        items: list[object] = []
        while type(event := next(self._events)).__name__ != "SequenceEndEvent":
            items.append(self._node(event, f"{path}[{len(items)}]" if self._with_lines else "", depth + 1))
        return items

    def _mapping(self, path: str, depth: int) -> dict[str, object]:
        mapping: dict[str, object] = {}
        merged: dict[str, object] = {}
        while type(event := next(self._events)).__name__ != "MappingEndEvent":
            key = _key(event)
            if key == _MERGE and getattr(event, "implicit", (True,))[0]:
                merged = {**_merged(self._node(next(self._events), f"{path}.{key}", depth + 1), event), **merged}
                continue
            self._size += len(key)
            if key in mapping:
                raise UnreadableError(f"expected each key once, found {key[:80]!r} again", event.start_mark.line)
            key_path = (f"{path}.{key}" if path else key) if self._with_lines else ""
            if self._with_lines:
                self._composed.lines[key_path] = event.start_mark.line
            mapping[key] = self._node(next(self._events), key_path, depth + 1)
        return {**merged, **mapping}


def _check_depth(event: _Event, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise UnreadableError(f"expected at most {MAX_DEPTH} levels", event.start_mark.line)


def _merged(value: object, event: _Event) -> dict[str, object]:
    """Return the entries of ``value``, a mapping or several of which the first counts most."""
    merged: dict[str, object] = {}
    for mapping in value if isinstance(value, list) else [value]:
        if not isinstance(mapping, dict):
            raise UnreadableError(f"expected a mapping, or several, after {_MERGE}", event.start_mark.line)
        merged = {**mapping, **merged}
    return merged


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
