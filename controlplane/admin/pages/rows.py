"""Rows of the admin API as JSON, in pieces: between two of them whoever makes a page gives way to others."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence

from controlplane.admin.schemas import ObjectRow, ProblemRow, Schema
from controlplane.envoy.packing import json_pieces
from controlplane.model.keys import Key
from controlplane.model.problems import Problem
from controlplane.objects.locations import LocatedProblem, Locations, file_order, locate_problems
from controlplane.xds.resource import Resource

_RUN = 500  # problems sorted at a time


def page(row: Schema) -> Iterator[bytes]:
    """Yield the JSON of ``row``."""
    yield row.model_dump_json(by_alias=True).encode()


def list_page(rows: Iterable[Schema | None]) -> Iterator[bytes]:
    """Yield the JSON of ``rows``, as a list; ``None`` is no row."""
    return _list(page(row) if row else () for row in rows)


def resource_list_page(resources: Iterable[Resource]) -> Iterator[bytes]:
    """Yield the JSON of ``resources``, as a list of rows (``ResourceRow``)."""
    return _list(map(resource_page, resources))


def resource_page(resource: Resource) -> Iterator[bytes]:
    """Yield the JSON of ``resource``, as a row (``ResourceRow``)."""
    yield f'{{"name":{json.dumps(resource.name)},"version":{json.dumps(resource.version)},"resource":'.encode()
    yield from json_pieces(resource.type_url, resource.value)
    yield b"}"


def object_rows(keys: Iterable[Key], places: Sequence[Locations], kind: str | None, namespace: str | None) -> Iterator[ObjectRow | None]:
    """Yield the rows of those of ``keys`` that are of ``kind`` and in ``namespace``, where these are given."""
    for key in keys:
        yield _object_row(key, places) if kind in {None, key.kind} and namespace in {None, key.namespace} else None


def problem_rows(of_objects: Iterable[Iterable[Problem]], places: Sequence[Locations], severity: str | None) -> Iterator[ProblemRow | None]:
    """Yield the rows of the Problems of documents and ``of_objects``, each once, by file and line; of ``severity``, where it is given."""
    found: set[LocatedProblem] = set()
    runs: list[list[LocatedProblem]] = [[]]
    for piece in locate_problems(of_objects, places):
        new = [each for each in dict.fromkeys(piece) if each not in found and severity in {None, each.problem.severity.value}]
        found.update(new)
        runs[-1] += new
        if len(runs[-1]) >= _RUN:
            runs[-1].sort(key=file_order)
            runs.append([])
        yield None
    runs[-1].sort(key=file_order)
    for each in heapq.merge(*runs, key=file_order):
        yield ProblemRow.model_validate(each.row())


def _object_row(key: Key, places: Sequence[Locations]) -> ObjectRow:
    place = next((place for source in places if (place := source.location(key, ""))), None)
    return ObjectRow(
        object=str(key),
        kind=key.kind,
        namespace=key.namespace,
        name=key.name,
        file=place.file if place else None,
        line=place.line or None if place else None,
    )


def _list(items: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
    """Yield ``items``, each in pieces, as one list; one without pieces is none."""
    separator = b"["
    for item in items:
        for piece in item:
            yield separator + piece
            separator = b""
        separator = separator or b","
        yield b""
    yield b"[]" if separator == b"[" else b"]"
