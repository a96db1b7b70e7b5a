"""From a question to the connection or request that is simulated: which address the client comes to, and how it begins."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from controlplane.explain.questions.question import Question
from controlplane.incremental.database import Database, Failed
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.registry.endpoints import endpoints
from controlplane.mesh.registry.services import ServiceRef, find_services, service
from controlplane.mesh.registry.workload_services import services_of_workload, workload_port
from controlplane.mesh.shards import CLUSTER_DOMAIN
from controlplane.model.hosts import is_ip
from controlplane.model.proxies import Interception, Proxy, ProxyType
from controlplane.simulation.resources import Resources
from controlplane.simulation.traffic import Address, ClientConnection, FirstBytes, HttpVersion, PlainHttp, RawBytes, Request, TlsHello

CLIENT_PORT = 40000  # of clients whose port does not matter
_OUTSIDE = "203.0.113.200"  # a client from outside (RFC 5737)
_UNKNOWN = "203.0.113.1"  # stands for what DNS answers and we do not know
_OFFERED = ("h2", "http/1.1")


class SimulatedTraffic(NamedTuple):
    """What is simulated, and what was assumed for it."""

    traffic: ClientConnection | Request
    notes: tuple[str, ...]


def traffic_of(mesh: Mesh, proxy: Proxy, question: Question, resources: Resources) -> SimulatedTraffic:
    """Return ``question`` as traffic that comes to ``proxy``, which has ``resources``: from its application, or from outside."""
    if proxy.type is ProxyType.ROUTER:
        return _from_outside(mesh, proxy, question, resources)
    address, note = address_of(mesh, proxy, question.host, question.port)
    captured = proxy.interception is not Interception.NONE
    connection = ClientConnection(
        source=Address(question.source_ip or next(iter(proxy.ips), _OUTSIDE), CLIENT_PORT),
        destination=Address(address, question.port),
        first_bytes=_first_bytes(question),
        redirected_to=Address("::1" if ":" in address else "127.0.0.1", mesh.settings().outbound_port) if captured else None,
        principal=question.principal,
    )
    return SimulatedTraffic(_traffic(question, connection), (note,) if note else ())


def arriving(proxy: Proxy, inbound_port: int, question: Question, address: Address) -> ClientConnection | Request:
    """Return ``question`` as traffic that comes to ``address``, one of the workload's of ``proxy``, from another."""
    captured = proxy.interception is not Interception.NONE
    # A client with a certificate comes by mutual TLS, as the proxies of a mesh do.
    announced = ("istio-http/1.1", "istio") if question.method else ("istio",)
    first_bytes: FirstBytes = TlsHello(question.server_name, announced) if question.principal else _first_bytes(question)
    connection = ClientConnection(
        source=Address(question.source_ip or _OUTSIDE, CLIENT_PORT),
        destination=address,
        first_bytes=first_bytes,
        redirected_to=Address(address.ip, inbound_port) if captured else None,
        principal=question.principal,
    )
    return _traffic(question, connection)


def _from_outside(mesh: Mesh, proxy: Proxy, question: Question, resources: Resources) -> SimulatedTraffic:
    bound = {each.address.socket_address.port_value for each in resources.listeners}
    port, notes = question.port, []
    if port not in bound:
        inner = next((target for number, target in _led_to(mesh.database, proxy) if number == port and target in bound), None)
        if inner is not None:
            notes.append(f"port {port} of its service leads to port {inner} of the gateway")
            port = inner
    connection = ClientConnection(
        source=Address(question.source_ip or _OUTSIDE, CLIENT_PORT),
        destination=Address(next(iter(proxy.ips), "127.0.0.1"), port),
        first_bytes=_first_bytes(question),
        principal=question.principal,
    )
    return SimulatedTraffic(_traffic(question, connection), tuple(notes))


def _led_to(db: Database, proxy: Proxy) -> Iterator[tuple[int, int]]:
    """Yield the ports of the services that ``proxy`` is an instance of, each with its own to which it leads."""
    refs = db.attempt(services_of_workload, proxy.namespace, proxy.labels or (), proxy.ips)
    for ref in () if isinstance(refs, Failed) else refs:
        found = db.attempt(service, ref)
        for port in found.ports if found and not isinstance(found, Failed) else ():
            target = workload_port(db, ref, port, proxy.ips)
            if target is not None:
                yield port.number, target


def address_of(mesh: Mesh, proxy: Proxy, host: str, port: int) -> tuple[str, str]:
    """Return the address that a client beside ``proxy`` connects to for ``host``, and what was assumed for it."""
    if is_ip(host):
        return host, ""
    if host == "localhost":
        return "127.0.0.1", ""
    db = mesh.database
    for name in _searched(host, proxy.namespace):
        refs = db.attempt(find_services, name, proxy.namespace)
        addresses = [] if isinstance(refs, Failed) else [address for ref in refs[:1] for address in _addresses(db, ref, port)]
        own = [address for address in addresses if any((":" in address) is (":" in ip) for ip in proxy.ips)]
        if addresses:
            return next(iter(own or addresses)), ""
    return _UNKNOWN, f"{host} has no address here: {_UNKNOWN} stands for what DNS answers"


def _searched(host: str, namespace: str) -> tuple[str, ...]:
    """Return what ``host`` may mean in a pod of ``namespace``, in the order in which its resolver asks for names."""
    searched = (f"{host}.{namespace}.svc.{CLUSTER_DOMAIN}", f"{host}.svc.{CLUSTER_DOMAIN}", f"{host}.{CLUSTER_DOMAIN}")
    return (host.rstrip("."),) if host.endswith(".") else (host, *searched)


def _addresses(db: Database, ref: ServiceRef, port: int) -> Iterator[str]:
    found = db.attempt(service, ref)
    if found is None or isinstance(found, Failed):
        return
    for address in found.addresses:
        yield str(ip_network(address, strict=False)[0]) if "/" in address else str(ip_address(address))
    if found.headless:
        instances = db.attempt(endpoints, ref, port)
        yield from () if isinstance(instances, Failed) else (each.address for each in instances if is_ip(each.address))


def _first_bytes(question: Question) -> FirstBytes:
    if question.tls:
        return TlsHello(question.server_name, _OFFERED if question.method else ())
    return PlainHttp(HttpVersion.HTTP11) if question.method else RawBytes()


def _traffic(question: Question, connection: ClientConnection) -> ClientConnection | Request:
    if not question.method:
        return connection
    return Request(
        connection=connection,
        authority=question.authority,
        path=question.path,
        method=question.method,
        headers=question.headers,
        claims=question.claims,
    )
