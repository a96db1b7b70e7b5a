"""How far objects have come with the proxies of one replica, as the replicas tell each other: what is not in order, and only that. Pure.

What is not named is in order up to the resourceVersion that its replica has seen of its collection. So what is told is as large as what
is under way, and not as the mesh; where even that is too much it is cut, and what is not named is not known then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol, TypeAlias

import orjson

from controlplane.fleet.rollout import Rollout, rollout_from_row
from controlplane.model.keys import Key
from controlplane.untyped import number, section

MAX_BYTES = 200_000  # of what is not in order; a ConfigMap may have 1 MiB
_MAX_RUNS = 256
Collection: TypeAlias = Callable[[Key], str]  # names what one watch is about, of which an object is one


class VersionedObject(Protocol):
    """An object of the API server, as far as it is compared with what is served."""

    @property
    def uid(self) -> str:
        """Return its identity: that of one which was deleted and made anew is another."""

    @property
    def generation(self) -> int:
        """Return the number of its content."""

    @property
    def version(self) -> str:
        """Return its resourceVersion."""


@dataclass(frozen=True, slots=True)
class Standings:
    """What one replica has told."""

    horizons: Mapping[str, int]  # by collection: up to which resourceVersion it has seen what happened
    under_way: Mapping[str, Rollout]  # by object: those that are not in order
    complete: bool  # whether all that is not in order is among these
    counts: tuple[tuple[str, int], ...] | None  # of those that are in order: from which name on how many proxies each has

    def rollout(self, key: Key, seen: Seen, collection: str) -> Rollout | None:
        """Return how far the object ``key`` of ``collection`` has come, which was ``seen``; ``None``: the replica has not served it yet."""
        name = str(key)
        if told := self.under_way.get(name):
            return told
        if not self.complete or self.horizons.get(collection, -1) < seen.version:
            return None
        if self.counts is None:
            return Rollout(seen.generation, counted=False)
        at = bisect_right(self.counts, name, key=lambda run: run[0])
        proxies = self.counts[at - 1][1] if at else 0
        return Rollout(seen.generation, proxies, proxies)


@dataclass(frozen=True, slots=True)
class Seen:
    """In which generation an object was seen last, and the first resourceVersion that it was seen with in this generation."""

    generation: int
    version: int
    uid: str = ""


class GenerationsSeen:
    """Since which resourceVersion each object is what it is: writing its status makes others, which other replicas need not have seen."""

    def __init__(self) -> None:
        """Begin without objects."""
        self._seen: dict[Key, Seen] = {}

    def look(self, objects: Mapping[Key, VersionedObject]) -> Mapping[Key, Seen]:
        """Return since when each of ``objects`` is what it is."""
        before, self._seen = self._seen, {}
        for key, found in objects.items():
            known = before.get(key)
            same = known is not None and (known.uid, known.generation) == (found.uid, found.generation)
            self._seen[key] = known if known and same else Seen(found.generation, version_number(found), found.uid)
        return self._seen


def version_number(found: VersionedObject) -> int:
    """Return the resourceVersion of ``found``: of one collection they are numbers in the order of what happened."""
    return int(found.version) if found.version.isdecimal() else 0


def encode_standings(objects: Mapping[Key, VersionedObject], rollouts: Mapping[Key, Rollout], collection: Collection) -> bytes:
    """Return what other replicas are to know of ``objects``, which have come as far as ``rollouts`` say; ``standings`` reads it."""
    horizons: dict[str, int] = {}
    under_way: list[tuple[bool, str, Rollout]] = []
    in_order: list[tuple[str, int]] = []
    for key, found in objects.items():
        of = collection(key)
        horizons[of] = max(horizons.get(of, 0), version_number(found))
        rollout = rollouts.get(key) or Rollout(0)
        if rollout.generation == found.generation and rollout.settled and not rollout.refusals:
            in_order.append((str(key), rollout.needed))
        else:
            under_way.append((rollout.generation != found.generation, str(key), rollout))
    rows, complete = _rows(under_way)
    runs = list(_runs(in_order))
    return orjson.dumps(
        {
            "horizons": dict(sorted(horizons.items())),
            "underWay": rows,
            "complete": complete,
            "counts": runs if len(runs) <= _MAX_RUNS else None,
        }
    )


def standings(content: bytes | str) -> Standings | None:
    """Return what ``content`` tells, ``None`` if it cannot be understood."""
    try:
        decoded = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(decoded, dict) or "horizons" not in decoded:
        return None
    rows = section(decoded, "underWay")
    runs = decoded.get("counts")
    return Standings(
        horizons={name: number(section(decoded, "horizons"), name) for name in section(decoded, "horizons")},
        under_way={name: rollout for name, row in rows.items() if (rollout := rollout_from_row(row))},
        complete=decoded.get("complete") is True,
        counts=tuple((str(name), int(count)) for name, count in runs) if isinstance(runs, list) else None,
    )


def _rows(under_way: list[tuple[bool, str, Rollout]]) -> tuple[dict[str, list[object]], bool]:
    """Return what is told of each of those that are ``under_way``, first those that are served, and whether that is all of them."""
    rows: dict[str, list[object]] = {}
    size = 0
    for _, name, rollout in sorted(under_way, key=lambda each: each[:2]):
        row = rollout.row()
        size += len(name) + len(orjson.dumps(row)) + 4
        if size > MAX_BYTES:
            return rows, False
        rows[name] = row
    return rows, True


def _runs(in_order: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    for proxies, run in groupby(sorted(in_order), key=lambda each: each[1]):
        yield next(run)[0], proxies
