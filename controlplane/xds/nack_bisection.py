"""How a refused response is tried again in parts, and which resources may only go together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet

_MOST = 16  # parts: a thousand suspects are narrowed down in three rounds, not tried one by one

ExclusiveKeys = frozenset[str]
NO_KEYS: ExclusiveKeys = frozenset()


def split_refused(exclusive: Mapping[str, ExclusiveKeys]) -> list[set[str]]:
    """Return the names of ``exclusive`` in parts to be sent one after the other: one name each, or, if there are too many, some.

    Names that have a key in common always stand together: hosts that exchange a domain are refused when half of them comes alone.
    """
    found = _conflicting_groups(exclusive)
    size = -(-len(found) // _MOST)
    return [set().union(*found[at : at + size]) for at in range(0, len(found), size)] if found else []


def with_conflicting(names: AbstractSet[str], others: Iterable[str], exclusive: Callable[[str], ExclusiveKeys]) -> set[str]:
    """Return ``names`` with those of ``others`` that share an exclusive key with them, directly or through another."""
    found = set(names)
    taken = NO_KEYS.union(*map(exclusive, names))
    left = {other: wanted for other in others if (wanted := exclusive(other))} if taken else {}
    while more := [other for other, wanted in left.items() if wanted & taken]:
        found.update(more)
        taken = taken.union(*(left.pop(other) for other in more))
    return found


def _conflicting_groups(exclusive: Mapping[str, ExclusiveKeys]) -> list[set[str]]:
    groups: list[set[str]] = []
    at: dict[str, int] = {}  # key -> its group
    for name in sorted(exclusive):
        overlapping = sorted({at[key] for key in exclusive[name] if key in at})
        home = overlapping[0] if overlapping else len(groups)
        if not overlapping:
            groups.append(set())
        groups[home].add(name)
        for other in overlapping[1:]:
            groups[home] |= groups[other]
            groups[other] = set()
            at.update((key, home) for key, group in at.items() if group == other)
        at.update(dict.fromkeys(exclusive[name], home))
    return [group for group in groups if group]
