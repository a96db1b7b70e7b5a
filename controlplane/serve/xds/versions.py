"""Which connected proxies are of a version that is not supported, as Problems: they have no object, and begin with the proxies' names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from controlplane.model.envoy_versions import EnvoyVersion, VersionConcern, concern, counting_concern
from controlplane.model.problems import Problem
from controlplane.serve.xds.subscribers import Subscribers

_MOST_NAMES = 10  # in one Problem
_MOST_VERSIONS = 100  # each in a Problem, and in the log: what a proxy says of itself is not verified


def version_problems(subscribers: Subscribers, *, counting: bool) -> Iterator[tuple[Problem, ...]]:
    """Yield, in pieces, a Problem for each version of proxies of ``subscribers`` that is not a supported one, with their names.

    ``counting``: proxies are asked to count by labels, which some cannot.
    """
    proxies: dict[EnvoyVersion | None, set[str]] = defaultdict(set)
    for session in subscribers.sessions():
        version = session.proxy.envoy
        if session.proxy.is_envoy and _concerns(version, counting=counting) and (version in proxies or len(proxies) < _MOST_VERSIONS):
            proxies[version].add(session.proxy.id)
        yield ()
    yield tuple(_problem(found, proxies[version]) for version in proxies for found in _concerns(version, counting=counting))


def _concerns(version: EnvoyVersion | None, *, counting: bool) -> list[VersionConcern]:
    found = (concern(version), counting_concern(version) if counting else None)
    return [each for each in found if each]


class LoggedVersions:
    """Of which versions the log has been told: each once, with the first proxy of it."""

    def __init__(self) -> None:
        """Begin with none."""
        self._told: set[EnvoyVersion | None] = set()

    def news(self, version: EnvoyVersion | None) -> VersionConcern | None:
        """Return what is to be told of ``version`` if it has not been told yet."""
        if version in self._told or len(self._told) == _MOST_VERSIONS or (found := concern(version)) is None:
            return None
        self._told.add(version)
        return found


def _problem(found: VersionConcern, proxies: set[str]) -> Problem:
    named = sorted(proxies)[:_MOST_NAMES]
    others = f" and {len(proxies) - len(named)} more" if len(proxies) > len(named) else ""
    return Problem(None, "", found.severity, found.code, f"{', '.join(named)}{others}: {found.words}")
