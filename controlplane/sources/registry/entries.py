"""Makes of a registration the object that the mesh reads: a ServiceEntry, with a Problem for whatever of it cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from controlplane.model.hosts import is_ip
from controlplane.model.keys import SERVICE_ENTRY, Key
from controlplane.model.problems import Problem, Severity
from controlplane.model.protocols import Protocol, parse_protocol
from controlplane.model.trust_domains import SPIFFE_SCHEME
from controlplane.objects.networking.service_entry import RegistryServiceEntry, ServiceEntry
from controlplane.objects.parse import ParsedObject, parse
from controlplane.objects.types.names import is_fqdn, is_label
from controlplane.sources.registry.registration import Instance, NamedPort, Registration

MAX_INSTANCES = 4096  # of a service; as many as a ServiceEntry may have endpoints
_PEER_LABEL = "security.istio.io/tlsMode"
_MUTUAL = "istio"
_NO_ADDRESSES = "Ambiguous"  # the code of what a ServiceEntry of connections lacks; where that matters, another Problem says so
_SHOWN = 3  # instances that a remark names
_MAX_REMARKS = 20  # of a service


class Convention(NamedTuple):
    """How the services of a registry appear in the mesh."""

    registry: str  # in words, as "Consul"
    namespace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedService:
    """What became of a registration: the object, unless it cannot be used, and what is wrong with it."""

    key: Key
    entry: RegistryServiceEntry | None
    problems: tuple[Problem, ...]
    origin: str
    origins: tuple[str, ...]  # of the instances behind the endpoints of the object, in their order
    refused: ParsedObject | None = None  # what says why it cannot be used


def converted(registration: Registration, convention: Convention) -> ConvertedService:
    """Return ``registration`` as an object by ``convention``."""
    key = SERVICE_ENTRY.key(convention.namespace, registration.name.lower())
    remarks = list(registration.remarks)
    instances = _usable(registration.instances, remarks)
    ports = list(_service_ports(registration, remarks))
    serving = [instance for instance in instances if instance.serving and instance.weight]
    if len(serving) > MAX_INSTANCES:
        remarks.append(f"expected at most {MAX_INSTANCES} instances, found {len(serving)}: the first by id are used")
        serving = serving[:MAX_INSTANCES]
    parsed = parse(_document(key, registration.host, ports, serving, instances))
    entry = parsed.object
    problems = [Problem(key, "", Severity.WARNING, "Registration", remark) for remark in _first(remarks)]
    problems += (problem for problem in parsed.problems if problem.code != _NO_ADDRESSES)
    return ConvertedService(
        key=parsed.key or key,
        entry=_registered(entry, convention.registry) if isinstance(entry, ServiceEntry) else None,
        problems=tuple(problems),
        origin=registration.origin,
        origins=tuple(instance.origin for instance in serving),
        refused=None if entry else parsed,
    )


def _registered(entry: ServiceEntry, registry: str) -> RegistryServiceEntry:
    return RegistryServiceEntry.model_construct(kind=entry.kind, meta=entry.meta, spec=entry.spec, registry=registry)


def _usable(instances: Iterable[Instance], remarks: list[str]) -> list[Instance]:
    """Return those of ``instances`` that a proxy could be sent to, and add to ``remarks`` why others are not."""
    usable: list[Instance] = []
    for instance in instances:
        if error := _error(instance):
            remarks.append(f"{instance.origin[:200]} is left out: {error}")
        else:
            usable.append(instance)
    return usable


def _error(instance: Instance) -> str | None:
    address = instance.address
    if not is_ip(address) and not is_fqdn(address):
        return f"expected an IP address or a DNS name, found {address[:80]!r}"
    if not instance.ports or not all(1 <= port.number <= 65535 for port in instance.ports):
        return "expected a port from 1 to 65535"
    identity = instance.identity
    if identity and not (identity.startswith(SPIFFE_SCHEME) and len(identity) <= 2048 and identity.isascii() and identity.isprintable()):
        return f"its identity is no SPIFFE ID, {SPIFFE_SCHEME}…, and it is not spoken to without one: found {identity[:80]!r}"
    if instance.account and not all(map(is_label, instance.account.split("."))):
        return f"its service account has no name that one could have, and it is not spoken to without one: found {instance.account[:80]!r}"
    return None


class _ServicePort(NamedTuple):
    """A port of the service: its number, and the name of the instances' port behind it."""

    number: int
    protocol: str
    instance_port: str

    @property
    def name(self) -> str:
        return self.instance_port or self.protocol


def _service_ports(registration: Registration, remarks: list[str]) -> Iterator[_ServicePort]:
    """Yield the ports at which clients address the service.

    All instances have their say, also those that serve nothing just now: what a service is reached by must not change with its health.
    """
    by_name: dict[str, list[tuple[Instance, NamedPort]]] = {}
    for instance in registration.instances:
        for port in instance.ports:
            by_name.setdefault(port.name, []).append((instance, port))
    for name, ports in sorted(by_name.items()):
        number = _number(registration, ports, remarks, only=len(by_name) == 1)
        yield _ServicePort(number, _protocol(registration, name, ports, remarks).lower(), name)


def _number(registration: Registration, ports: Sequence[tuple[Instance, NamedPort]], remarks: list[str], *, only: bool) -> int:
    named = Counter(instance.service_port for instance, _ in ports if instance.service_port)
    if only and named:
        return _agreed(named, "the port of the service", remarks)
    if only and registration.port:
        return registration.port
    return _agreed(Counter(port.number for _, port in ports), "the port that they listen at, which is the one of the service,", remarks)


def _protocol(registration: Registration, name: str, ports: Sequence[tuple[Instance, NamedPort]], remarks: list[str]) -> Protocol:
    protocols = {name} if name else {instance.protocol for instance, _ in ports}
    text = protocols.pop() if len(protocols) == 1 else ""
    if protocols:
        remarks.append(f"its instances do not agree on their protocol: {registration.protocol} is used")
    text = text or registration.protocol
    protocol = parse_protocol(text)
    if protocol is Protocol.UNSUPPORTED:
        remarks.append(f"expected a protocol such as http, http2, grpc, tls or tcp, found {text[:40]!r}: tcp is used")
        return Protocol.TCP
    return protocol


def _agreed(numbers: Counter[int], what: str, remarks: list[str]) -> int:
    """Return the most common of ``numbers``, the lowest of several."""
    number = min(numbers, key=lambda candidate: (-numbers[candidate], candidate))
    if len(numbers) > 1:
        remarks.append(f"its instances do not agree on {what} {', '.join(map(str, sorted(numbers)[:_SHOWN]))}: {number} is used")
    return number


def _document(
    key: Key, host: str, ports: Iterable[_ServicePort], serving: Sequence[Instance], registered: Sequence[Instance]
) -> dict[str, object]:
    """Return the ServiceEntry for ``serving`` instances of a service of which there are the ``registered`` ones."""
    port_names = {port.instance_port: port.name for port in ports}
    spec: dict[str, object] = {
        "hosts": [host],
        "ports": [{"number": port.number, "name": port.name, "protocol": port.protocol.upper()} for port in ports],
        "resolution": "STATIC" if all(is_ip(instance.address) for instance in registered) else "DNS",
        "location": "MESH_INTERNAL" if any(map(_in_mesh, registered)) else "MESH_EXTERNAL",
        "endpoints": [_endpoint(instance, port_names) for instance in serving],
        "subjectAltNames": sorted({instance.identity for instance in registered if instance.identity}),
    }
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": key.kind,
        "metadata": {"name": key.name, "namespace": key.namespace},
        "spec": spec,
    }


def _endpoint(instance: Instance, port_names: dict[str, str]) -> dict[str, object]:
    labels = dict(instance.labels)
    if _in_mesh(instance):
        labels[_PEER_LABEL] = _MUTUAL
    return {
        "address": instance.address,
        "ports": {port_names[port.name]: port.number for port in instance.ports},
        "labels": labels,
        "locality": instance.locality,
        "weight": instance.weight,
        "serviceAccount": instance.account,
    }


def _in_mesh(instance: Instance) -> bool:
    return bool(instance.account or instance.identity) or (_PEER_LABEL, _MUTUAL) in instance.labels


def _first(remarks: Sequence[str]) -> Iterator[str]:
    yield from remarks[:_MAX_REMARKS]
    if len(remarks) > _MAX_REMARKS:
        yield f"{len(remarks) - _MAX_REMARKS} more remarks are not shown"
