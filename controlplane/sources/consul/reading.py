"""What the answers of Consul's HTTP API say, as values: pure.

https://developer.hashicorp.com/consul/api-docs/catalog, …/health, …/config
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple, TypeAlias

from controlplane.settings import ConsulSettings
from controlplane.sources.registry.http import RegistryUnreachable
from controlplane.sources.registry.metadata import MAX_WEIGHT, ZONE, settings_of
from controlplane.sources.registry.registration import Instance, NamedPort
from controlplane.untyped import Json, items, number, section, text

_OWN = "consul"  # the service of Consul's servers
_PASSING, _WARNING = "passing", "warning"
_TAG_PREFIX = "consul-tag"
_MAX_INSTANCES = 8192  # of a service that are read

Tags: TypeAlias = tuple[str, ...]
Check: TypeAlias = tuple[str, str, str, str]  # node, service id, check id, status
CheckedInstances: TypeAlias = Mapping[str, frozenset[tuple[str, str]]]  # node and service id, by the name of the service


class Checks(NamedTuple):
    """Which checks do not pass: those of each service by its name, and those of each node."""

    of_services: Mapping[str, frozenset[Check]]
    of_nodes: Mapping[str, frozenset[Check]]


class ServiceInstances(NamedTuple):
    """What Consul has of a service: its instances, where they are, and which of their own checks do not pass."""

    instances: tuple[Instance, ...]
    nodes: frozenset[str]
    checks: frozenset[Check]
    remarks: tuple[str, ...]


class Defaults(NamedTuple):
    """The protocols that configuration entries say: of services by name, and (``everywhere``) of all others; empty: none."""

    of_services: Mapping[str, str]
    everywhere: str = ""

    def protocol(self, service: str) -> str:
        """Return the protocol of ``service``."""
        return self.of_services.get(service) or self.everywhere or "tcp"


def services_of(catalog: object, settings: ConsulSettings) -> dict[str, Tags]:
    """Return the tags of the services in ``catalog`` that ``settings`` want, by name; raises RegistryUnreachable."""
    if not isinstance(catalog, dict):
        raise RegistryUnreachable("its catalog is no object")
    found = {name: _texts(tags) for name, tags in catalog.items() if name != _OWN and _is_wanted(name, settings.names)}
    wanted = set(settings.tags)
    return {name: tags for name, tags in found.items() if not wanted or not wanted.isdisjoint(tags)}


def _is_wanted(name: str, patterns: Iterable[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def checks_of(state: object) -> Checks:
    """Return the checks in ``state`` that do not pass; raises RegistryUnreachable."""
    of_services: dict[str, set[Check]] = {}
    of_nodes: dict[str, set[Check]] = {}
    for check in _rows(state):
        if text(check, "Status") == _PASSING:
            continue
        by_name, name = (of_services, text(check, "ServiceName")) if text(check, "ServiceID") else (of_nodes, text(check, "Node"))
        by_name.setdefault(name, set()).add(_check(check))
    return Checks(
        {name: frozenset(checks) for name, checks in of_services.items()}, {name: frozenset(checks) for name, checks in of_nodes.items()}
    )


def checked_instances_of(state: object) -> CheckedInstances:
    """Return the instances that have a check in ``state``, by the name of their service; raises RegistryUnreachable."""
    found: dict[str, set[tuple[str, str]]] = {}
    for check in _rows(state):
        if known := text(check, "ServiceID"):
            found.setdefault(text(check, "ServiceName"), set()).add((text(check, "Node"), known))
    return {name: frozenset(instances) for name, instances in found.items()}


def instances_of(health: object, settings: ConsulSettings) -> ServiceInstances:
    """Return the instances of a service by its ``health``; raises RegistryUnreachable."""
    instances: dict[str, Instance] = {}
    checks: set[Check] = set()
    nodes: set[str] = set()
    remarks: list[str] = []
    rows = _rows(health)
    if len(rows) > _MAX_INSTANCES:
        remarks.append(f"expected at most {_MAX_INSTANCES} instances, found {len(rows)}: those after are left out")
    for row in rows[:_MAX_INSTANCES]:
        node, service = section(row, "Node"), section(row, "Service")
        if text(service, "Kind"):
            continue  # a proxy or a gateway of Consul's own mesh
        nodes.add(text(node, "Node"))
        checks.update(_check(check) for check in items(row, "Checks") if text(check, "ServiceID") and text(check, "Status") != _PASSING)
        instance, of_instance = _instance(node, service, items(row, "Checks"), settings)
        instances[instance.id] = instance
        remarks += (f"{instance.origin[:200]}: {remark}" for remark in of_instance)
    return ServiceInstances(tuple(instances[name] for name in sorted(instances)), frozenset(nodes), frozenset(checks), tuple(remarks))


def _instance(node: Json, service: Json, checks: Iterable[Json], settings: ConsulSettings) -> tuple[Instance, tuple[str, ...]]:
    statuses = {text(check, "Status") for check in checks}
    weights = section(service, "Weights") or {"Passing": 1, "Warning": 1}
    identifier, name = text(service, "ID"), text(node, "Node")
    pairs, plain = _divided(_texts(service.get("Tags")))
    metadata = {**pairs, **_strings(section(service, "Meta"))}
    settings_of_instance = settings_of(metadata, plain)
    zone = text(section(node, "Meta"), ZONE)
    region = text(node, "Datacenter") or settings.datacenter or ""
    instance = Instance(
        id=f"{name}/{identifier}",
        address=text(service, "Address") or text(node, "Address"),
        ports=(NamedPort("", number(service, "Port")),),
        origin=f"instance {identifier} at node {name}",
        serving=statuses <= {_PASSING, _WARNING},
        weight=max(0, min(number(weights, "Warning" if _WARNING in statuses else "Passing"), MAX_WEIGHT)),
        labels=settings_of_instance.labels,
        locality=f"{region}/{zone}" if zone else region,
        account=settings_of_instance.account,
        identity=settings_of_instance.identity,
        protocol=settings_of_instance.protocol,
        service_port=settings_of_instance.service_port,
    )
    return instance, settings_of_instance.remarks


def _divided(tags: Iterable[str]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return those of ``tags`` that are a name and a value, and the others as labels."""
    pairs: dict[str, str] = {}
    plain: list[tuple[str, str]] = []
    for tag in tags:
        name, equals, value = tag.partition("=")
        if equals and name:
            pairs.setdefault(name, value)
        else:
            plain.append((f"{_TAG_PREFIX}/{tag}", "true"))
    return pairs, plain


def service_defaults_of(entries: object) -> Mapping[str, str]:
    """Return the protocols of services in configuration ``entries``, by name; raises RegistryUnreachable."""
    return {text(entry, "Name"): text(entry, "Protocol").lower() for entry in _rows(entries) if text(entry, "Protocol")}


def proxy_defaults_of(entries: object) -> str:
    """Return the protocol of all services in configuration ``entries``, empty where none is said; raises RegistryUnreachable."""
    return next((text(section(entry, "Config"), "protocol").lower() for entry in _rows(entries) if text(entry, "Name") == "global"), "")


def _check(check: Json) -> Check:
    return text(check, "Node"), text(check, "ServiceID"), text(check, "CheckID"), text(check, "Status")


def _rows(data: object) -> list[Json]:
    if data is None:
        return []
    if not isinstance(data, list):
        raise RegistryUnreachable("its answer is no list")
    return [row for row in data if isinstance(row, dict)]


def _texts(values: object) -> Tags:
    return tuple(value for value in values if isinstance(value, str)) if isinstance(values, list) else ()


def _strings(data: Json) -> dict[str, str]:
    return {name: value for name, value in data.items() if isinstance(value, str)}
