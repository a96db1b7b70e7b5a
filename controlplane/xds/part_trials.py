"""Which virtual hosts of a refused RouteConfiguration are at fault, where they are in it: it is sent again without some of them.

From a client without VHDS one virtual host that it refuses would keep its whole table, and every later change of its neighbours.
A table has an ``Assembly``, so what differs from the table that the client has is tried part by part: in the place of a part that is not
tried yet, or is at fault, stands what the client has accepted of it, or an answer of 503. Of a client whose table is not known (it has it
from an earlier stream) nothing is taken away by trying: the table is sent without one group after the other until it is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from controlplane.xds.nack_bisection import NO_KEYS, ExclusiveKeys, split_refused
from controlplane.xds.resource import Part, Resource, assembled

_MOST_TRIALS = 200  # of one table in a row: a client that refuses everything is not asked without end
_AS_ACCEPTED, _UNAVAILABLE, _NOT_AT_ALL = range(3)  # what stands in the place of a part at fault: the next one where that is refused too


@dataclass(slots=True)
class _Trials:
    """What is tried of one table: ``groups[0]`` is being tried, the others are not yet."""

    groups: list[set[str]] = field(default_factory=list)
    without: bool = False  # the group that is tried is left out, instead of those that are not yet
    tried_without: bool = False  # leaving one group out was of no use
    at_fault: dict[str, tuple[Part, int]] = field(default_factory=dict)  # in which form, and what stands in its place
    count: int = 0

    @property
    def replaced(self) -> set[str]:
        """Return the names that are not sent as they are published, though nothing is known against them."""
        return set().union(*(self.groups[:1] if self.without else self.groups[1:]))


class PartTrials:
    """What is tried, and what is known to be at fault, of the tables of one stream."""

    def __init__(self) -> None:
        """Begin with nothing at fault."""
        self._tables: dict[str, _Trials] = {}

    def __bool__(self) -> bool:
        """Return whether there is any table of which not all is sent as it is published."""
        return bool(self._tables)

    def at_fault(self, table: str) -> tuple[str, ...]:
        """Return the parts of ``table`` that are at fault, as names of resources."""
        trials = self._tables.get(table)
        return tuple(f"{table}/{name}" for name in trials.at_fault) if trials else ()

    def fit(self, published: Resource, accepted: Resource | None) -> Resource:
        """Return what to send of ``published`` to a client that has ``accepted``."""
        trials = self._tables.get(published.name)
        if trials is None or published.assembly is None:
            return published
        parts = published.assembly.parts
        by_name = {part.name: part for part in parts}
        trials.at_fault = {name: fault for name, fault in trials.at_fault.items() if _same(by_name.get(name), fault[0])}
        replaced = trials.replaced
        if not trials.at_fault and not trials.groups:
            del self._tables[published.name]
            return published
        before = _parts(accepted)
        going = [part for part in parts if part.name not in replaced and part.name not in trials.at_fault]
        taken = NO_KEYS.union(*(part.exclusive for part in going))
        chosen: list[Part] = []
        for part in parts:
            if part.name in trials.at_fault or part.name in replaced:
                level = trials.at_fault[part.name][1] if part.name in trials.at_fault else _AS_ACCEPTED
                chosen += _instead(part, before.get(part.name), level, taken, published.assembly.unavailable)
            else:
                chosen.append(part)
        return assembled(published.type_url, published.name, published.assembly._replace(parts=tuple(chosen)))

    def accepted(self, table: str) -> bool:
        """Take note that the client has accepted what was sent of ``table``; return whether there is more to try."""
        trials = self._tables.get(table)
        if trials is None:
            return False
        if trials.without:
            trials.without = False
            return bool(trials.groups)  # now the group that was left out
        del trials.groups[:1]
        return bool(trials.groups)

    def refused(self, published: Resource, sent: Resource, accepted: Resource | None) -> tuple[str, ...] | None:
        """Take note that a client that has ``accepted`` has refused ``sent``, made of ``published``.

        Return what is at fault, as names of resources, and nothing where that is yet to be found; ``None``: it cannot be found.
        """
        if published.assembly is None or sent.assembly is None:
            return None
        trials = self._tables.setdefault(published.name, _Trials())
        trials.count += 1
        if trials.count > _MOST_TRIALS:
            del self._tables[published.name]
            return None
        before = _parts(accepted)
        if not before and not trials.tried_without and self._try_without(trials, published):
            return ()
        original = {part.name: part for part in published.assembly.parts}
        suspects = {
            part.name: part.exclusive | (before[part.name].exclusive if part.name in before else NO_KEYS)
            for part in sent.assembly.parts
            if _same(part, original.get(part.name)) and not _same(part, before.get(part.name)) and part.name not in trials.at_fault
        }
        return self._narrow(trials, published, suspects, _parts(sent))

    def _try_without(self, trials: _Trials, published: Resource) -> bool:
        """Leave the next group out of a table that the client does not have; return whether there is one."""
        if trials.without:
            del trials.groups[:1]
        else:
            trials.without = True
            trials.groups = split_refused({name: part.exclusive for name, part in _parts(published).items()})
            if len(trials.groups) == 1:
                trials.groups = []
        if not trials.groups:
            trials.without, trials.tried_without = False, True
            trials.groups = split_refused({name: part.exclusive for name, part in _parts(published).items()})
            return len(trials.groups) > 1
        return True

    def _narrow(
        self, trials: _Trials, published: Resource, suspects: Mapping[str, ExclusiveKeys], sent: Mapping[str, Part]
    ) -> tuple[str, ...] | None:
        if not suspects:  # what stands in the place of the bad ones is bad itself
            worse = {
                name: (part, _UNAVAILABLE if sent[name].body != _unavailable(published) else _NOT_AT_ALL)
                for name, (part, _) in trials.at_fault.items()
                if name in sent
            }
            trials.at_fault |= worse
            if not worse:
                del self._tables[published.name]
            return self.at_fault(published.name) if worse else None
        groups = split_refused(suspects)
        if len(groups) > 1:
            trials.groups[:1] = groups
            return ()
        parts = _parts(published)
        trials.at_fault |= {name: (parts[name], _AS_ACCEPTED) for name in suspects}
        del trials.groups[:1]
        return tuple(f"{published.name}/{name}" for name in suspects)


def _parts(resource: Resource | None) -> Mapping[str, Part]:
    return {part.name: part for part in resource.assembly.parts} if resource is not None and resource.assembly is not None else {}


def _unavailable(resource: Resource) -> bytes:
    return resource.assembly.unavailable if resource.assembly is not None else b""


def _same(one: Part | None, other: Part | None) -> bool:
    return one is not None and other is not None and (one.head, one.body) == (other.head, other.body)


def _instead(part: Part, before: Part | None, level: int, taken: Iterable[str], unavailable: bytes) -> Iterator[Part]:
    """Yield what is sent instead of ``part``; ``taken`` are domains that other parts have."""
    if level == _AS_ACCEPTED and before is not None and before.exclusive.isdisjoint(taken):
        yield before
    elif level < _NOT_AT_ALL:
        yield part._replace(body=unavailable, uses=(), missing=frozenset())
