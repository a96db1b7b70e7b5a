"""The resources of one proxy as JSON, however they were come by: from a control plane, from an Envoy, or from a file with its dump."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from controlplane.cli.operator.client import AdminClient, part
from controlplane.cli.operator.failures import CommandFailed
from controlplane.untyped import Json, items, section, text

KINDS = ("listeners", "routes", "clusters", "endpoints", "secrets", "virtualhosts")
_SNAKE = re.compile(r"(?<=[a-z0-9])_([a-z0-9])")


class NamedMessage(NamedTuple):
    """One resource: its name and version, and its message as proto3 JSON in lowerCamelCase."""

    name: str
    version: str
    message: Json


class _Section(NamedTuple):
    """Where a dump has resources: in which list, in which field of its entries, and the message in which field of that."""

    kind: str
    entries: str
    message: str
    state: str = ""


_SECTIONS: Mapping[str, tuple[_Section, ...]] = {
    "ListenersConfigDump": (
        _Section("listeners", "staticListeners", "listener"),
        _Section("listeners", "dynamicListeners", "listener", "activeState"),
    ),
    "ClustersConfigDump": (
        _Section("clusters", "staticClusters", "cluster"),
        _Section("clusters", "dynamicActiveClusters", "cluster"),
    ),
    "RoutesConfigDump": (
        _Section("routes", "staticRouteConfigs", "routeConfig"),
        _Section("routes", "dynamicRouteConfigs", "routeConfig"),
    ),
    "EndpointsConfigDump": (
        _Section("endpoints", "staticEndpointConfigs", "endpointConfig"),
        _Section("endpoints", "dynamicEndpointConfigs", "endpointConfig"),
    ),
    "SecretsConfigDump": (
        _Section("secrets", "staticSecrets", "secret"),
        _Section("secrets", "dynamicActiveSecrets", "secret"),
        _Section("secrets", "dynamicWarmingSecrets", "secret"),
    ),
}
ByName: TypeAlias = Mapping[str, NamedMessage]


@dataclass(frozen=True)
class ProxyResources:
    """The resources of one proxy, by kind and name; ``refused`` is what an Envoy says of those that it has not taken."""

    resources: Mapping[str, ByName]
    refused: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def of(self, kind: str) -> ByName:
        """Return the resources of ``kind``, by name."""
        return self.resources.get(kind, {})

    def route_tables(self) -> Iterator[tuple[str, list[Json]]]:
        """Yield the name of each route table, and its virtual hosts: those in it, and those that came by VHDS."""
        hosts: dict[str, list[Json]] = {}
        for resource in self.of("virtualhosts").values():
            hosts.setdefault(resource.name.partition("/")[0], []).append(resource.message)
        for resource in self.of("routes").values():
            here = list(items(resource.message, "virtualHosts"))
            names = {text(each, "name") for each in here}
            yield resource.name, here + [each for each in hosts.get(resource.name, ()) if text(each, "name") not in names]


def sent_config(client: AdminClient, proxy_id: str, kinds: tuple[str, ...] = KINDS) -> ProxyResources:
    """Return what the control plane of ``client`` has for the proxy ``proxy_id``, of ``kinds``; raises CommandFailed."""
    return ProxyResources(
        {
            kind: {
                text(row, "name"): NamedMessage(text(row, "name"), text(row, "version"), section(row, "resource"))
                for row in client.rows(f"/v1/proxies/{part(proxy_id)}/config/{kind}")
            }
            for kind in kinds
        }
    )


def dumped_config(text_of_dump: str, source: str) -> ProxyResources:
    """Return what the dump of an Envoy says that it has (``/config_dump?include_eds``), read from ``source``; raises CommandFailed."""
    try:
        dump = camel_case(json.loads(text_of_dump))
    except ValueError as error:
        raise CommandFailed(f"{source}: expected the JSON of an Envoy's /config_dump: {error}") from None
    if not isinstance(dump, dict) or not items(dump, "configs"):
        raise CommandFailed(f"{source}: expected the JSON of an Envoy's /config_dump, with configs")
    found: dict[str, dict[str, NamedMessage]] = {kind: {} for kind in KINDS}
    refused: dict[tuple[str, str], str] = {}
    for kind, resource, refusal in _dumped(dump):
        if resource.message:
            found[kind][resource.name] = resource
        if refusal:
            refused[kind, resource.name] = refusal
    return ProxyResources(found, refused)


def camel_case(value: object) -> object:
    """Return ``value``, JSON, with the names of all fields in lowerCamelCase: an Envoy has them as its messages do."""
    if isinstance(value, dict):
        return {_SNAKE.sub(lambda found: found[1].upper(), str(name)): camel_case(each) for name, each in value.items()}
    return [camel_case(each) for each in value] if isinstance(value, list) else value


def _dumped(dump: Json) -> Iterator[tuple[str, NamedMessage, str]]:
    """Yield each resource of ``dump`` with its kind, and why its last version was refused, if it was."""
    for dumped in items(dump, "configs"):
        for section_of in _SECTIONS.get(text(dumped, "@type").rpartition(".")[2], ()):
            for entry in items(dumped, section_of.entries):
                state = section(entry, section_of.state) if section_of.state else entry
                message = section(state, section_of.message)
                name = text(entry, "name") or text(message, "name") or text(message, "clusterName")
                message.pop("@type", None)  # of the Any that it comes in
                resource = NamedMessage(name, text(state, "versionInfo"), message)
                yield section_of.kind, resource, text(section(entry, "errorState"), "details")
