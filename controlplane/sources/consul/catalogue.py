"""Which services have to be asked about, by what was heard of the catalog and of checks: pure.

Consul has no query that tells of all instances. The catalog says that some service's registration has changed and not whose, and the
checks that do not pass say whose health has changed. Two blocking queries for all services, and one plain question for each that may have
changed, need a handful of connections, however many services there are: of one address Consul takes 200. Where there are so many that it
takes long to ask about all, the list of all checks says whose instances have come and gone: nearly all have a check.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

from controlplane.sources.consul.reading import Check, CheckedInstances, Checks, Defaults, ServiceInstances, Tags
from controlplane.sources.registry.registration import Registration

T = TypeVar("T")
_NONE: frozenset[Check] = frozenset()
_MOST_TRIES = 3  # to hear of a service what its checks have said already


class ToAsk(NamedTuple):
    """Services to be asked about: those that have changed (``now``), and those that may have."""

    now: frozenset[str] = frozenset()
    later: frozenset[str] = frozenset()


class Catalogue:
    """What is known of the services of a Consul."""

    def __init__(self, domain: str, port: int) -> None:
        """Begin with nothing; hosts end in ``domain``, and ``port`` is that of services that say none (0: there is none)."""
        self._domain = domain
        self._port = port
        self._tags: Mapping[str, Tags] = {}
        self._checks = Checks({}, {})
        self._checks_index = 0
        self._instances: CheckedInstances = {}
        self._services: dict[str, ServiceInstances] = {}
        self._indexes: dict[str, int] = {}
        self._tries: dict[str, int] = {}
        self.defaults = Defaults({})

    @property
    def names(self) -> Mapping[str, object]:
        """Return the names of the services that the catalog has."""
        return self._tags

    @property
    def complete(self) -> bool:
        """Return whether there is an answer about every service."""
        return len(self._services) == len(self._tags)

    def take_catalog(self, tags: Mapping[str, Tags]) -> ToAsk:
        """Take in that these are the services, with their ``tags``, as of a change of some registration."""
        now = frozenset(name for name, own in tags.items() if self._tags.get(name) != own)
        for name in [name for name in self._services if name not in tags]:
            del self._services[name]
            self._indexes.pop(name, None)
            self._tries.pop(name, None)
        self._tags = tags
        return ToAsk(now, frozenset(tags) - now)

    def take_checks(self, checks: Checks, index: int) -> ToAsk:
        """Take in that these ``checks`` do not pass as of ``index``."""
        before, self._checks, self._checks_index = self._checks, checks, index
        self._tries.clear()
        names = {name for name in _differing(before.of_services, checks.of_services) if name in self._tags}
        nodes = frozenset(_differing(before.of_nodes, checks.of_nodes))
        if nodes:
            names.update(name for name, service in self._services.items() if not nodes.isdisjoint(service.nodes))
        return ToAsk(now=frozenset(names))

    def take_instances(self, instances: CheckedInstances) -> ToAsk:
        """Take in that these ``instances`` have checks."""
        before, self._instances = self._instances, instances
        return ToAsk(now=frozenset(name for name in _differing(before, instances) if name in self._tags) if before else frozenset())

    def is_regressed(self, name: str, index: int) -> bool:
        """Return whether ``index`` of an answer about the service ``name`` is lower than one before."""
        return index < self._indexes.get(name, 0)

    def take_service(self, name: str, service: ServiceInstances, index: int) -> bool:
        """Take in what there is of the service ``name`` as of ``index``; return whether that is behind what is known of its checks."""
        before = self._services.get(name)
        if not service.instances and before is not None:
            # Until the catalog has it no more, it is a service that nobody serves.
            service = service._replace(instances=tuple(replace(instance, serving=False) for instance in before.instances))
        self._services[name] = service
        self._indexes[name] = index
        behind = service.checks != self._checks.of_services.get(name, _NONE) and index <= self._checks_index
        if not behind or self._tries.get(name, 0) >= _MOST_TRIES:
            return False
        self._tries[name] = self._tries.get(name, 0) + 1
        return True

    def registration(self, name: str) -> Registration | None:
        """Return how the service ``name`` is registered; ``None`` where that is not known, or it has no instances but Consul's proxies."""
        service = self._services.get(name)
        if service is None or not service.instances:
            return None
        return Registration(
            name=name,
            host=f"{name.lower()}.service.{self._domain}",
            instances=service.instances,
            origin=f"service {name}",
            protocol=self.defaults.protocol(name),
            port=self._port,
            remarks=service.remarks,
        )


def _differing(before: Mapping[str, frozenset[T]], after: Mapping[str, frozenset[T]]) -> Iterable[str]:
    return [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
