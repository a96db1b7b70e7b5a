"""What becomes of a question: at the proxy that it is asked of, and at those to which that sends it on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint

from controlplane.explain.explanation import Explanation, OtherSide, TrafficVerdict, Way
from controlplane.explain.origins import Origins
from controlplane.explain.questions.question import Question
from controlplane.explain.questions.traffic import CLIENT_PORT, arriving, traffic_of
from controlplane.explain.resources import authorities, resources_in
from controlplane.explain.steps import StepExplainer
from controlplane.explain.verdicts import ending, together
from controlplane.explain.work import Work
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.sessions import Session
from controlplane.model.proxies import Interception
from controlplane.simulation.resources import Resources
from controlplane.simulation.result import Forwarded, Outcome
from controlplane.simulation.simulate import simulate
from controlplane.simulation.traffic import Address, ClientConnection, FirstBytes, HttpVersion, PlainHttp, Request, TlsHello
from controlplane.simulation.upstream.clusters import endpoint_address
from controlplane.simulation.upstream.transport import UpstreamTransport, transport_of

_MOST_ENDPOINTS = 6  # of one way, whose proxies are asked
_INBOUND = ("inbound|", "InboundPassthroughCluster")


@dataclass(frozen=True, slots=True)
class Sight:
    """Where is looked up what proxies have: ``session_at`` says whose proxy is at an address."""

    mesh: Mesh
    origins: Origins
    session_at: Callable[[str], Session | None]


def explained(sight: Sight, session: Session, question: Question) -> Work[Explanation]:
    """Return what becomes of ``question``, which the application beside the proxy of ``session`` asks, or which comes from outside."""
    resources = yield from resources_in(session.view, authorities(question.authority))
    identity = session.proxy.identity
    question = replace(question, principal=question.principal or (identity.uri if identity else ""))
    traffic, notes = traffic_of(sight.mesh, session.proxy, question, resources)
    ways = yield from _ways(sight, session, resources, traffic, question)
    return Explanation(proxy=session.proxy.id, asked=str(question), notes=notes, ways=ways)


def judged(sight: Sight, session: Session, question: Question) -> Work[Explanation]:
    """Return whether the proxy of ``session`` lets in ``question``, which comes to its workload from another one."""
    resources = yield from resources_in(session.view, authorities(question.authority))
    ip = next(iter(session.proxy.ips), "127.0.0.1")
    traffic = arriving(session.proxy, sight.mesh.settings().inbound_port, question, Address(ip, question.port))
    ways = yield from _ways(sight, session, resources, traffic, question)
    return Explanation(
        proxy=session.proxy.id, asked=f"{question} from {question.principal or 'a client in plaintext'}", notes=(), ways=ways
    )


def _ways(
    sight: Sight, session: Session, resources: Resources, traffic: ClientConnection | Request, question: Question
) -> Work[tuple[Way, ...]]:
    found: list[Way] = []
    for outcome in simulate(traffic, resources).outcomes:
        yield
        end = ending(outcome)
        sides = yield from _other_sides(sight, resources, outcome, traffic, question)
        verdict, why = end.verdict, end.why
        if sides and verdict is TrafficVerdict.ALLOWED:
            verdict = together(each for side in sides for each in ([way.verdict for way in side.ways] or [TrafficVerdict.SENT]))
            why = next((way.why for side in sides for way in side.ways if way.why), "") or next((side.unknown for side in sides), "")
        steps = yield from StepExplainer(session, resources, sight.origins).explained(outcome.steps)
        found.append(
            Way(
                share=_share(outcome.share),
                ends=end.ends,
                verdict=verdict,
                why=why,
                status=end.status,
                steps=steps,
                mirrors=tuple(f"{each.cluster} ({_share(each.share)})" for each in outcome.mirrors),
                other_sides=tuple(sides),
            )
        )
    return tuple(found)


def _share(share: Fraction) -> str:
    return f"{float(share * 100):.4g} %"


def _other_sides(
    sight: Sight, resources: Resources, outcome: Outcome, traffic: ClientConnection | Request, question: Question
) -> Work[list[OtherSide]]:
    """Return what the proxies make of it to which ``outcome`` sends it on, those together that make the same of it."""
    landing = outcome.landing
    if not isinstance(landing, Forwarded) or landing.cluster.startswith(_INBOUND):
        return []
    sides: list[OtherSide] = []
    addresses = sorted(landing.endpoints)
    for address, ip, port in list(_sockets(addresses))[:_MOST_ENDPOINTS]:
        transport = _transport(resources, landing.cluster, address)
        other = sight.session_at(ip)
        if other is None:
            unknown = f"no proxy is known at {ip}: what judges there, if anything, is not known"
            sides.append(OtherSide(endpoints=(address,), proxy="", transport=_in_words(transport), unknown=unknown))
            continue
        arrives = _arriving(sight, other, transport, Address(ip, port), outcome, traffic, question)
        others = yield from resources_in(other.view)
        ways = yield from _ways(sight, other, others, arrives, question)
        sides.append(OtherSide(endpoints=(address,), proxy=other.proxy.id, transport=_in_words(transport), ways=ways))
    return sides


def _sockets(addresses: list[str]) -> Iterator[tuple[str, str, int]]:
    for address in addresses:
        ip, colon, port = address.rpartition(":")
        if colon and port.isdecimal():
            yield address, ip.strip("[]"), int(port)


def _transport(resources: Resources, cluster_name: str, address: str) -> UpstreamTransport:
    cluster = resources.clusters[cluster_name]
    assignment = resources.endpoints.get(cluster.eds_cluster_config.service_name or cluster_name) or cluster.load_assignment
    endpoint: LbEndpoint | None = next(
        (each for locality in assignment.endpoints for each in locality.lb_endpoints if endpoint_address(each) == address), None
    )
    return transport_of(cluster, endpoint)


def _in_words(transport: UpstreamTransport) -> str:
    if transport.tls is None:
        return "in plaintext"
    alpn = ", ".join(transport.tls.common_tls_context.alpn_protocols)
    mutual = bool(transport.tls.common_tls_context.tls_certificate_sds_secret_configs)
    named = f" to {transport.tls.sni}" if transport.tls.sni else ""
    return f"by {'mutual ' if mutual else ''}TLS{named}{f' ({alpn})' if alpn else ''}"


def _arriving(
    sight: Sight,
    other: Session,
    transport: UpstreamTransport,
    address: Address,
    outcome: Outcome,
    traffic: ClientConnection | Request,
    question: Question,
) -> ClientConnection | Request:
    """Return what comes to ``other`` at ``address``, as ``outcome`` says that it is sent on."""
    before = traffic.connection if isinstance(traffic, Request) else traffic
    captured = other.proxy.interception is not Interception.NONE
    connection = ClientConnection(
        source=Address(before.source.ip, CLIENT_PORT),
        destination=address,
        first_bytes=_first_bytes(transport, before.first_bytes, is_request=outcome.sent is not None),
        redirected_to=Address(address.ip, sight.mesh.settings().inbound_port) if captured else None,
        principal=question.principal if transport.tls is not None else "",
    )
    if outcome.sent is None:
        return connection if not isinstance(traffic, Request) or transport.tls is None else replace(traffic, connection=connection)
    sent = outcome.sent
    return Request(
        connection=connection,
        authority=sent.authority,
        path=sent.path or "/",
        method=sent.method,
        headers=sent.headers,
        claims=question.claims,
    )


def _first_bytes(transport: UpstreamTransport, before: FirstBytes, *, is_request: bool) -> FirstBytes:
    if transport.tls is not None:
        return TlsHello(transport.tls.sni, tuple(transport.tls.common_tls_context.alpn_protocols))
    if not is_request:
        return before
    return PlainHttp(HttpVersion.HTTP2 if transport.http2 else HttpVersion.HTTP11)
