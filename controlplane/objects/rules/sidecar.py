"""What a Sidecar must keep to. https://istio.io/latest/docs/reference/config/networking/sidecar/"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.hosts import is_ip
from controlplane.model.protocols import Protocol, named
from controlplane.objects.names import is_dns_label
from controlplane.objects.review import Finding
from controlplane.objects.rules import common
from controlplane.objects.rules.destination_rule import check_pool
from controlplane.objects.rules.service_entry import UNIX
from controlplane.objects.rules.virtual_service import destination
from controlplane.objects.sidecar import EgressListener, IngressListener, ServerTLSSettings, Sidecar, SidecarPort

_LOCAL = ("127.0.0.1", "[::1]", "0.0.0.0", "[::]")  # noqa: S104 - the instance's own address, in Istio's words


def check(value: Sidecar) -> Iterator[Finding]:
    """Yield what is wrong with ``value``."""
    spec = value.spec
    if not (spec.egress or spec.ingress or spec.outbound_traffic_policy or spec.inbound_connection_pool):
        yield common.required("spec", "at least one of ingress, egress, outboundTrafficPolicy and inboundConnectionPool")
    if spec.workload_selector:
        yield from common.selector("spec.workloadSelector.labels", spec.workload_selector.labels)
    numbers: set[int] = set()
    for at, ingress in enumerate(spec.ingress):
        yield from _ingress(f"spec.ingress[{at}]", ingress)
        if ingress.port.number in numbers:
            yield common.conflict(f"spec.ingress[{at}].port.number", f"expected each port once, found {ingress.port.number} again")
        numbers.add(ingress.port.number)
    yield from _all_egress(spec.egress)
    if spec.inbound_connection_pool:
        yield from check_pool("spec.inboundConnectionPool", spec.inbound_connection_pool)
    policy = spec.outbound_traffic_policy
    if policy and policy.egress_proxy:
        yield from destination("spec.outboundTrafficPolicy.egressProxy", policy.egress_proxy)
        if policy.mode != "ALLOW_ANY":
            yield common.conflict("spec.outboundTrafficPolicy.egressProxy", "expected a mode of ALLOW_ANY beside it")


def _all_egress(listeners: tuple[EgressListener, ...]) -> Iterator[Finding]:
    bound: set[tuple[str, int]] = set()
    catch_all = None
    for at, each in enumerate(listeners):
        path = f"spec.egress[{at}]"
        yield from _egress(path, each)
        if each.port is None or (not each.port.number and not each.bind):
            if catch_all is not None:
                yield common.conflict(path, f"expected one listener without a port: spec.egress[{catch_all}] has none either")
            catch_all = at
        else:
            where = (each.bind, each.port.number)
            if where in bound:
                yield common.conflict(f"{path}.port.number", f"expected each port once, found {each.port.number} again")
            bound.add(where)
    if catch_all is not None and catch_all != len(listeners) - 1:
        yield common.conflict(f"spec.egress[{catch_all}]", "expected the listener without a port to be the last")


def _egress(path: str, each: EgressListener) -> Iterator[Finding]:
    if not each.hosts:
        yield common.required(f"{path}.hosts", "at least one host, as namespace/host")
    for at, host in enumerate(each.hosts):
        yield from _host(f"{path}.hosts[{at}]", host)
    if each.port is None:
        if each.bind or each.capture_mode != "DEFAULT":
            yield common.conflict(path, "expected a port beside bind or captureMode")
        return
    unix = each.bind.startswith(UNIX)
    if unix and each.capture_mode not in ("DEFAULT", "NONE"):
        yield common.conflict(f"{path}.captureMode", "expected DEFAULT or NONE with a Unix domain socket")
    yield from _port(f"{path}.port", each.port, unix=unix)
    yield from _bind(f"{path}.bind", each.bind, unix=True)


def _ingress(path: str, each: IngressListener) -> Iterator[Finding]:
    yield from _port(f"{path}.port", each.port, unix=False)
    yield from _bind(f"{path}.bind", each.bind, unix=False)
    endpoint = each.default_endpoint
    if endpoint.startswith(UNIX):
        if not endpoint.removeprefix(UNIX).lstrip("/"):
            yield common.out_of_range(f"{path}.defaultEndpoint", "a path after unix://", endpoint)
    elif endpoint:
        host, _, port = endpoint.rpartition(":")
        if host not in _LOCAL or not port.isdecimal() or not 0 < int(port) <= 65535:
            yield common.out_of_range(f"{path}.defaultEndpoint", "127.0.0.1:PORT, [::1]:PORT, 0.0.0.0:PORT, [::]:PORT or unix://PATH", endpoint)
    if each.tls:
        yield from _tls(f"{path}.tls", each.tls, each.port)
    if each.connection_pool:
        yield from check_pool(f"{path}.connectionPool", each.connection_pool)


def _tls(path: str, tls: ServerTLSSettings, port: SidecarPort) -> Iterator[Finding]:
    if tls.mode not in ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"):
        yield common.out_of_range(f"{path}.mode", "SIMPLE or MUTUAL", tls.mode)
    if tls.https_redirect:
        yield common.conflict(f"{path}.httpsRedirect", "expected no redirect in a sidecar")
    if tls.mode == "SIMPLE" and tls.subject_alt_names:
        yield common.conflict(f"{path}.subjectAltNames", "expected a mode of MUTUAL beside it")
    if tls.credential_name or tls.credential_names:
        yield common.conflict(path, "expected certificate files: a sidecar has no credentialName")
    if not (tls.server_certificate and tls.private_key):
        yield common.required(path, "serverCertificate and privateKey")
    if tls.mode == "MUTUAL" and not tls.ca_certificates:
        yield common.required(f"{path}.caCertificates", "a file")
    del port


def _port(path: str, port: SidecarPort, *, unix: bool) -> Iterator[Finding]:
    if unix:
        if port.number:
            yield common.conflict(f"{path}.number", "expected 0 with a Unix domain socket")
    else:
        yield from common.ports(f"{path}.number", port.number)
    if not port.protocol or named(port.protocol) is Protocol.UNSUPPORTED:
        yield common.out_of_range(f"{path}.protocol", "a protocol such as HTTP, GRPC, TCP or HTTP_PROXY", port.protocol)
    if port.target_port:
        yield common.conflict(f"{path}.targetPort", "expected no targetPort in a Sidecar")


def _bind(path: str, bind: str, *, unix: bool) -> Iterator[Finding]:
    if not bind or is_ip(bind):
        return
    if not unix or not bind.startswith((f"{UNIX}/", f"{UNIX}@")):
        yield common.out_of_range(path, "an IP address" + (" or unix:///path" if unix else ""), bind)


def _host(path: str, host: str) -> Iterator[Finding]:
    namespace, slash, name = host.partition("/")
    if not slash or "/" in name:
        yield common.out_of_range(path, "namespace/host", host)
        return
    if namespace not in ("*", ".", "~") and not is_dns_label(namespace):
        yield common.out_of_range(path, "a namespace, '*', '.' or '~' before the slash", host)
    if namespace == "~" and name == "*":
        return
    partial = name.startswith("*") and name != "*" and not name.startswith("*.")
    if partial or not name:
        yield common.out_of_range(path, "a host, '*' or '*.' and a domain after the slash", host)
    else:
        yield from common.hosts(path, name)
