"""The rows of the tables of a proxy's configuration: their cells, what they can be filtered by, and which objects they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from controlplane.untyped import Json, items, section, text


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What a row can be filtered by: ``None`` is known of no row that is not about such a thing."""

    name: str = ""
    port: int | None = None
    fqdn: str | None = None
    subset: str | None = None
    direction: str | None = None


@dataclass(frozen=True, slots=True)
class ConfigRow:
    """One row: ``cells`` by their columns' names; the ``resource`` that it is of, and the objects that its metadata names."""

    resource: str
    cells: Mapping[str, str]
    facts: RowFacts
    objects: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Filters:
    """Which rows are shown: those of all that is given."""

    port: int | None = None
    fqdn: str | None = None
    subset: str | None = None
    direction: str | None = None
    name: str | None = None

    def shows(self, facts: RowFacts) -> bool:
        """Return whether a row with ``facts`` is shown."""
        return (
            self.port in {None, facts.port}
            and self.fqdn in {None, facts.fqdn}
            and self.subset in {None, facts.subset}
            and (self.direction is None or self.direction.lower() == facts.direction)
            and (self.name is None or self.name in facts.name)
        )


def cluster_facts(name: str) -> RowFacts:
    """Return what the name of a cluster says: direction|port|subset|host."""
    pieces = name.split("|")
    if len(pieces) != 4:
        return RowFacts(name=name)
    direction, port, subset, host = pieces
    return RowFacts(name, int(port) if port.isdecimal() else None, host or None, subset, direction)


def metadata_objects(message: Json) -> Iterator[str]:
    """Yield the object that the metadata of ``message`` names, as Kind/namespace/name: Istio's control planes write it there, too."""
    written = text(section(section(section(message, "metadata"), "filterMetadata"), "istio"), "config")
    pieces = written.split("/")
    if len(pieces) > 3 and "namespaces" in pieces:
        *_, namespace, kind, name = pieces
        yield f"{''.join(part.capitalize() for part in kind.split('-'))}/{namespace}/{name}"


def socket_address(address: Json) -> tuple[str, int | None]:
    """Return host, or path of a socket, and port of ``address``, a message of Envoy's."""
    of_socket = section(address, "socketAddress")
    if of_socket:
        port = of_socket.get("portValue")
        return text(of_socket, "address"), port if isinstance(port, int) else 0
    pipe = text(section(address, "pipe"), "path")
    internal = text(section(address, "envoyInternalAddress"), "serverListenerName")
    return pipe or (f"internal {internal}" if internal else ""), None


def filters_of(chain: Json) -> tuple[Json, ...]:
    """Return the configurations of the network filters of ``chain``."""
    return tuple(section(each, "typedConfig") for each in items(chain, "filters"))
