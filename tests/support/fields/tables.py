"""What is put into leaves and what is known of them beforehand: read from the files beside this one.

Paths are told by their ends: of several that fit, the longest counts, and one of the kind itself before one of any kind. What
is without use in all of a kind has the empty path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from tests.support.fields.leaves import KindOfObject, Leaf, Schema, Steps, steps

_FOLDER = Path(__file__).parent
_ANY_KIND = "*"
Table = Mapping[str, Mapping[str, object]]  # by kind, and by path or name


@dataclass(frozen=True, slots=True)
class Values:
    """The values to try in a leaf: every one of them, or else the first that does not stand there already."""

    candidates: Sequence[object]
    every: bool


def values_of(kind: str, leaf: Leaf) -> Values:
    """Return the values to try in ``leaf`` of ``kind``: those of ``values.yaml``, each alternative of a choice, or one of its type."""
    if isinstance(written := _at_end(_file("values"), kind, leaf.path), list):
        return Values(written, every=True)
    return Values(_of_type(leaf.schema), every=leaf.schema.get("type") == "boolean" or "enum" in leaf.schema)


def required_value(kind: str, path: str, schema: Schema) -> object:
    """Return what stands at ``path`` of ``kind`` where something has to."""
    return values_of(kind, Leaf(path, schema)).candidates[0]


def means_default(kind: str, path: str, value: object) -> bool:
    """Return whether ``value`` at ``path`` of ``kind`` means what holds where nothing is written."""
    values = _at_end(_known("default"), kind, path)
    return isinstance(values, list) and value in values


def without_use(kind: str, path: str) -> str:
    """Return why the leaf at ``path`` of ``kind`` is without use, nothing if it is not."""
    known = _known("without use")
    return str(_at_end(known, kind, path) or known.get(kind, {}).get("", ""))


def metadata_of(kind: str) -> Mapping[str, object]:
    """Return the metadata of an object of ``kind``, besides its name."""
    return _file("metadata").get(kind, {})


def labels_of(kind: KindOfObject) -> Iterator[tuple[str, str, str]]:
    """Yield the labels and annotations that mean something in ``kind``: which they are, their names, and a value to try."""
    by_kind = _file("labels")
    tables = [by_kind.get(kind.name, {}), *([by_kind[_ANY_KIND]] if kind.root == "spec" else [])]
    for table in tables:
        for place, entries in table.items():
            if isinstance(entries, dict):
                yield from ((place, name, value) for name, value in entries.items())


def bases(kind: str, parts: Steps) -> Iterator[Sequence[object]]:
    """Yield the objects of ``kind`` in which a leaf at ``parts`` makes sense, group by group, those that are closest to it first."""
    by_beginning = {steps(beginning): around for beginning, around in _file("bases").get(kind, {"": {}}).items()}
    for length in range(len(parts), -1, -1):
        if (around := by_beginning.get(parts[:length])) is not None:
            yield around if isinstance(around, list) else [around]


def all_bases(kind: str) -> Iterator[object]:
    """Yield every object of ``kind`` that leaves are tried in, the one for all leaves first."""
    for _, around in sorted(_file("bases").get(kind, {"": {}}).items(), key=lambda item: item[0] != ""):
        yield from around if isinstance(around, list) else [around]


def surroundings(parts: Steps) -> Iterator[tuple[Steps, object]]:
    """Yield what stands around a leaf at ``parts`` wherever it is, with its place: for the longest piece of its path first."""
    by_piece = {steps(piece): around for piece, around in _file("parts").items()}
    for piece in sorted(by_piece, key=len, reverse=True):
        for at in range(len(parts) - len(piece) + 1):
            if parts[at : at + len(piece)] == piece:
                yield parts[: at + 1], by_piece[piece]


def _at_end(table: Table, kind: str, path: str) -> object:
    """Return what ``table`` has of ``kind`` for the longest end of ``path``."""
    parts = steps(path)
    for of_kind in (kind, _ANY_KIND):
        by_end = {steps(end): value for end, value in table.get(of_kind, {}).items()}
        for at in range(len(parts)):
            if parts[at:] in by_end:
                return by_end[parts[at:]]
    return None


@cache
def _file(name: str) -> Table:
    written: Table = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text())
    return written


@cache
def _known(heading: str) -> Table:
    written: Mapping[str, Table] = yaml.safe_load((_FOLDER / "known.yaml").read_text())
    return written[heading]


def _of_type(schema: Schema) -> Sequence[object]:
    default = schema.get("default")
    if isinstance(choices := schema.get("enum"), list):
        return [choice for choice in choices if choice != default]
    match schema.get("type"), schema.get("format"):
        case "boolean", _:
            return [value for value in (True, False) if value is not default]
        case "integer", _:
            return [_within(schema, 7), _within(schema, 9)]
        case "number", _:
            return [12.5]
        case "string", "duration":
            return ["7s", "9s"]
        case "string", "base64":
            return ["Ym9keQ=="]
        case "string", _:
            return ["some", "more"]
        case "object", _:
            return [{"some": "thing"}] if "x-kubernetes-preserve-unknown-fields" in schema else [{}]
        case unknown:
            raise TypeError(f"no value of {unknown} is known")


def _within(schema: Schema, number: int) -> int:
    least, most = schema.get("minimum"), schema.get("maximum")
    number = least + number if isinstance(least, int) and least > number else number
    return min(number, most) if isinstance(most, int) else number
