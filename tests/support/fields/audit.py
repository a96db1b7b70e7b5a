"""Tries the leaves of a kind, each alone: whether it changes what comes of the mesh, or a Problem names it.

An object is looked at twice, without the leaf and with it, all else being the same. What takes something beside it to make sense is told by
``bases.yaml`` (whole objects, by the beginnings of paths) and ``parts.yaml`` (what is around a piece of a path, wherever it is).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.parse import ParsedObject, parse
from tests.support.fields.leaves import ENTRY, ITEM, KindOfObject, Leaf, Schema, Steps, leaves, object_name, steps
from tests.support.fields.placing import ABSENT, place
from tests.support.fields.tables import (
    all_bases,
    bases,
    labels_of,
    means_default,
    metadata_of,
    required_value,
    surroundings,
    values_of,
)
from tests.support.fields.verdicts import Letter, Result, Verdict
from tests.support.fields.world import Outcome, World, changed_parts

# Problems that stand where a field begins and hold for all that is below.
_WITHOUT_EFFECT = frozenset(("NotTranslated", "KindNotTranslated", "NoEffect", "NotChecked", "Ineffective", "Deprecated"))
_OLDER = "2020-01-01T00:00:00Z"  # than what stands in the world


class Audit:
    """The trials of one kind in one world."""

    def __init__(self, kind: KindOfObject, world: World) -> None:
        """Try ``kind`` in ``world``."""
        self._kind = kind
        self._world = world
        namespace, name = object_name(kind)
        self._metadata = {"name": name, "namespace": namespace, "creationTimestamp": _OLDER, **metadata_of(kind.name)}

    def verdicts(self) -> Iterator[Verdict]:
        """Yield what comes of each leaf, and then of the labels and annotations that mean something."""
        for leaf in leaves(self._kind.schema):
            yield Verdict(self._kind.name, leaf.path, self._results(leaf))
        for place_of, name, value in labels_of(self._kind):
            yield Verdict(self._kind.name, metadata_path(place_of, name), {value: self._result_of_metadata(place_of, name, value)})

    def leaves_no_trace(self) -> bool:
        """Return whether everything is as it was once the object is gone."""
        return self._world.is_untouched_without(_key(self._parsed(next(bases(self._kind.name, ()))[0])))

    def is_told_of_unknown(self, container: str) -> bool:
        """Return whether a Problem names a field that nobody knows in the object at ``container``."""
        at, name = steps(container), "noSuchField"
        node = next(bases(self._kind.name, at))[0]
        within = _at(self._placed(node, at, ABSENT) if at else node, at)
        fields = within if isinstance(within, dict) else {}
        parsed = self._parsed(self._placed(node, at, {**fields, name: 1}))
        return any(problem.field.endswith(f".{name}") for problem in parsed.problems)

    def _results(self, leaf: Leaf) -> Mapping[str, Result]:
        """Return what comes of the values of ``leaf``, of each the best of all that may stand around it."""
        found: dict[str, Result] = {}
        compared: set[str] = set()  # values that others were compared with
        for group in bases(self._kind.name, leaf.steps):
            for value, result in self._results_in(leaf, group):
                if result is None:
                    compared.add(value)
                else:
                    found[value] = found.get(value, result).or_better(result)
            if {result.letter for result in found.values()} == {Letter.EFFECT}:
                break
        nothing = (Letter.REFUSED, Letter.SILENT)
        tried = {value: result for value, result in found.items() if value not in compared or result.letter not in nothing}
        assert tried, f"{self._kind.name} {leaf.path}: no value to try"
        return tried

    def _results_within(self, leaf: Leaf, base: object) -> Iterator[tuple[str, Result | None]]:
        """Yield what comes of the values of ``leaf`` in ``base``, ``None`` for one that stands there to compare with."""
        values = values_of(self._kind.name, leaf)
        without = self._without(leaf, base, values.candidates)
        standing = _at(without, leaf.steps)
        yield from ((_shown(value), None) for value in values.candidates if value == standing)
        before = self._outcome(without, self._metadata)
        others = [value for value in values.candidates if value != standing]
        for value in others if values.every else others[:1]:
            parsed = self._parsed(self._placed(base, leaf.steps, value))
            result = self._compared(parsed, f"{self._kind.root}.{leaf.path}".lstrip("."), before)
            silent = Letter.DEFAULT if means_default(self._kind.name, leaf.path, value) else Letter.SILENT
            yield _shown(value), result or Result(silent)

    def _without(self, leaf: Leaf, base: object, candidates: Sequence[object]) -> object:
        """Return ``base`` without ``leaf``; where it has to be there, with another value of it, or without what it stands in."""
        absent = self._placed(base, leaf.steps, ABSENT)
        others = [self._placed(base, leaf.steps, value) for value in candidates] if len(candidates) > 1 else []
        cut = [self._placed(base, leaf.steps[:length], ABSENT) for length in range(len(leaf.steps) - 1, 0, -1)]
        return next(fields for fields in (absent, *others, *cut, base) if self._parsed(fields).object is not None)

    def _result_of_metadata(self, place_of: str, name: str, value: str) -> Result:
        """Return what comes of a label or an annotation in the first object that shows an effect of it, else in any."""
        result = Result(Letter.REFUSED)
        for base in all_bases(self._kind.name):
            result = result.or_better(self._result_of_metadata_in(base, place_of, name, value))
            if result.letter is Letter.EFFECT:
                break
        return result

    def _result_of_metadata_in(self, base: object, place_of: str, name: str, value: str) -> Result:
        entries = self._metadata.get(place_of, {})
        assert isinstance(entries, dict)
        others = {other: kept for other, kept in entries.items() if other != name}
        before = self._outcome(base, {**self._metadata, place_of: others})
        parsed = self._parsed(base, {**self._metadata, place_of: {**others, name: value}})
        return self._compared(parsed, f"metadata.{place_of}.{name}", before) or Result(Letter.SILENT)

    def _outcome(self, fields: object, metadata: Mapping[str, object]) -> Outcome:
        parsed = self._parsed(fields, metadata)
        return self._world.outcome(_key(parsed), parsed.object)

    def _results_in(self, leaf: Leaf, group: Sequence[object]) -> Iterator[tuple[str, Result | None]]:
        """Yield what comes of the values of ``leaf`` in each object of ``group``, with and without what ``parts.yaml`` has around it."""
        for base in group:
            for at, part in surroundings(leaf.steps):
                yield from self._results_within(leaf, self._placed(base, at, part))
            yield from self._results_within(leaf, base)

    def _compared(self, parsed: ParsedObject, path: str, before: Outcome) -> Result | None:
        """Return what comes of an object that now has something at ``path``, ``None`` if nothing does and nobody is told."""
        if parsed.object is None:
            return Result(Letter.REFUSED, parsed.problems[0].message)
        key = _key(parsed)
        if changed := changed_parts(before, self._world.outcome(key, parsed.object)):
            return Result(Letter.EFFECT, changed=changed)
        told = [problem.message for problem in (*parsed.problems, *self._world.problems(key)) if names(problem, path)]
        return Result(Letter.WARNED, told[0]) if told else None

    def _placed(self, fields: object, at: Steps, value: object) -> object:
        return place(fields, self._kind.schema, at, value, self._required)

    def _required(self, path: str, schema: Schema) -> object:
        return required_value(self._kind.name, path, schema)

    def _parsed(self, fields: object, metadata: Mapping[str, object] | None = None) -> ParsedObject:
        document: dict[str, object] = {
            "apiVersion": self._kind.api_version,
            "kind": self._kind.name,
            "metadata": metadata or self._metadata,
        }
        match self._kind.root:
            case "":
                document |= fields if isinstance(fields, dict) else {}
            case "data.mesh":
                document |= {"kind": "ConfigMap", "data": {"mesh": json.dumps(fields)}}
            case root:
                document[root] = fields
        return parse(document)


def metadata_path(place_of: str, name: str) -> str:
    """Return how the label or annotation ``name`` is written where paths are."""
    return f"metadata.{place_of}{{{name}}}"


def is_of_metadata(path: str) -> bool:
    """Return whether ``path`` is that of a label or an annotation, by its name."""
    return path.startswith("metadata.") and not path.endswith(ENTRY)


def names(problem: Problem, path: str) -> bool:
    """Return whether ``problem`` tells who has written ``path``: it stands there or below, or above for all that is below."""
    if problem.severity is Severity.INFO:
        return False
    told, wanted = _names(problem.field), _names(path)
    fits = all(step in (name, ENTRY) for name, step in zip(told, wanted, strict=False))
    if fits and len(told) >= len(wanted) - (wanted[-1:] == (ENTRY,)):
        return True
    return problem.code in _WITHOUT_EFFECT and (problem.field == "kind" or fits)


def _names(path: str) -> Steps:
    """Return the names in ``path``, whichever item they are of."""
    return tuple(step for step in steps(re.sub(r"\[\d+\]", "", path)) if step != ITEM)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _key(parsed: ParsedObject) -> Key:
    assert parsed.key is not None
    return parsed.key


def _at(node: object, parts: Steps) -> object:
    """Return what stands in ``node`` where ``parts`` lead, ``ABSENT`` if nothing does."""
    for step in parts:
        if step == ITEM:
            node = node[0] if isinstance(node, list) and node else ABSENT
        elif step == ENTRY:
            node = next(iter(node.values()), ABSENT) if isinstance(node, dict) else ABSENT
        else:
            node = node.get(step, ABSENT) if isinstance(node, dict) else ABSENT
    return node
