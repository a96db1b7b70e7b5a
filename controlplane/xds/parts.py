"""How a refused response is tried again in parts, and which resources may only go together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

_MOST = 16  # parts: a thousand suspects are narrowed down in three rounds, not tried one by one

Claims = frozenset[str]
NO_CLAIMS: Claims = frozenset()


def parts(claims: Mapping[str, Claims]) -> list[set[str]]:
    """Return the names of ``claims`` in parts to be sent one after the other: one name each, or, if there are too many, some.

    Names that have a claim in common always stand together: hosts that exchange a domain are refused when half of them comes alone.
    """
    found = _entangled(claims)
    size = -(-len(found) // _MOST)
    return [set().union(*found[at : at + size]) for at in range(0, len(found), size)] if found else []


def joined(names: set[str], others: Iterable[str], claims: Callable[[str], Claims]) -> set[str]:
    """Return ``names`` with those of ``others`` that share one of ``claims`` with them, directly or through another."""
    found = set(names)
    taken = NO_CLAIMS.union(*map(claims, names))
    left = {other: wanted for other in others if (wanted := claims(other))} if taken else {}
    while more := [other for other, wanted in left.items() if wanted & taken]:
        found.update(more)
        taken = taken.union(*(left.pop(other) for other in more))
    return found


def _entangled(claims: Mapping[str, Claims]) -> list[set[str]]:
    groups: list[set[str]] = []
    at: dict[str, int] = {}  # claim -> its group
    for name in sorted(claims):
        overlapping = sorted({at[claim] for claim in claims[name] if claim in at})
        home = overlapping[0] if overlapping else len(groups)
        if not overlapping:
            groups.append(set())
        groups[home].add(name)
        for other in overlapping[1:]:
            groups[home] |= groups[other]
            groups[other] = set()
            at.update((claim, home) for claim, group in at.items() if group == other)
        at.update(dict.fromkeys(claims[name], home))
    return [group for group in groups if group]
