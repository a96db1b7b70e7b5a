"""What a Sidecar must keep to.

https://istio.io/latest/docs/reference/config/networking/sidecar/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from controlplane.model.cipher_suites import unknown_suites
from controlplane.model.endpoint_policy import OWN_PORTS
from controlplane.model.hosts import ANY, is_ip
from controlplane.model.protocols import parse_protocol
from controlplane.objects.networking.destination_rule import ConnectionPoolSettings
from controlplane.objects.networking.rules.destination_rule import check_connection_pool
from controlplane.objects.networking.rules.service_entry import UNIX, check_socket
from controlplane.objects.networking.rules.virtual_service import check_destination
from controlplane.objects.networking.sidecar import (
    EgressListener,
    IngressListener,
    OutboundTrafficPolicy,
    ServerTLSSettings,
    Sidecar,
    SidecarPort,
)
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import is_fqdn, is_label
from controlplane.objects.types.scalars import MAX_PORT

_LOCAL = ("127.0.0.1", "0.0.0.0", "[::1]", "[::]")  # 0.0.0.0 is the instance's own address, in Istio's words
_PORT = re.compile(r"[0-9]{1,5}\Z")


def check(sidecar: Sidecar) -> Iterator[Finding]:
    """Yield what is wrong with ``sidecar``."""
    spec = sidecar.spec
    if not (spec.egress or spec.ingress or spec.outbound_traffic_policy or spec.inbound_connection_pool):
        yield rules.required("spec", "at least one of ingress, egress, outboundTrafficPolicy and inboundConnectionPool")
    if spec.workload_selector:
        yield from rules.selector("spec.workloadSelector.labels", spec.workload_selector.labels)
    numbers: set[int] = set()
    for index, ingress in enumerate(spec.ingress):
        yield from _ingress(f"spec.ingress[{index}]", ingress)
        if ingress.port.number in numbers:
            yield rules.conflict(f"spec.ingress[{index}].port.number", f"expected each port once, found {ingress.port.number} again")
        numbers.add(ingress.port.number)
    yield from _all_egress(spec.egress)
    if spec.inbound_connection_pool:
        yield from _pool("spec.inboundConnectionPool", spec.inbound_connection_pool)
    if spec.outbound_traffic_policy:
        yield from _policy("spec.outboundTrafficPolicy", spec.outbound_traffic_policy)


def _policy(path: str, policy: OutboundTrafficPolicy) -> Iterator[Finding]:
    proxy = policy.egress_proxy
    if proxy is None:
        return
    if policy.mode != "ALLOW_ANY":
        yield rules.conflict(f"{path}.egressProxy", "expected a mode of ALLOW_ANY beside it")
    if not is_fqdn(proxy.host):
        yield rules.out_of_range(f"{path}.egressProxy.host", "a DNS name without a wildcard", proxy.host)
    if proxy.port is None:
        yield rules.required(f"{path}.egressProxy.port", "a port")
    yield from check_destination(f"{path}.egressProxy", proxy)


def _all_egress(listeners: Sequence[EgressListener]) -> Iterator[Finding]:
    bound: set[int | str] = set()
    for index, listener in enumerate(listeners):
        path = f"spec.egress[{index}]"
        yield from _egress(path, listener)
        if listener.port is None:
            if index != len(listeners) - 1:
                yield rules.conflict(path, "expected the listener without a port to be the only one, and the last")
            continue
        listens_at = listener.port.number or listener.bind
        if listens_at in bound:
            yield rules.conflict(f"{path}.port.number", f"expected each port, and each socket, once, found {listens_at} again")
        bound.add(listens_at)


def _egress(path: str, listener: EgressListener) -> Iterator[Finding]:
    if not listener.hosts:
        yield rules.required(f"{path}.hosts", "at least one host, as namespace/host")
    for index, host in enumerate(listener.hosts):
        yield from _host(f"{path}.hosts[{index}]", host)
    if listener.port is None:
        if listener.bind:
            yield rules.conflict(f"{path}.bind", "expected a port beside it")
        return
    yield from _port(f"{path}.port", listener.port)
    if listener.port.number:
        yield from rules.port_number(f"{path}.port.number", listener.port.number)
        yield from _bind(f"{path}.bind", listener.bind)
    elif listener.bind.startswith(UNIX):
        yield from check_socket(f"{path}.bind", listener.bind)
        if listener.capture_mode not in ("DEFAULT", "NONE"):
            yield rules.conflict(f"{path}.captureMode", "expected DEFAULT or NONE with a Unix domain socket")
    else:
        yield rules.out_of_range(f"{path}.port.number", "a port from 1 to 65535 (0 goes with a bind of unix://path)", 0)


def _ingress(path: str, listener: IngressListener) -> Iterator[Finding]:
    yield from rules.port_number(f"{path}.port.number", listener.port.number)
    yield from _port(f"{path}.port", listener.port)
    yield from _bind(f"{path}.bind", listener.bind)
    yield from check_default_endpoint(f"{path}.defaultEndpoint", listener.default_endpoint)
    if listener.tls:
        yield from _tls(f"{path}.tls", listener.tls, listener.port)
    if listener.connection_pool:
        yield from _pool(f"{path}.connectionPool", listener.connection_pool)


def _pool(path: str, pool: ConnectionPoolSettings) -> Iterator[Finding]:
    yield from check_connection_pool(path, pool)
    if pool.http and pool.http.h2_upgrade_policy != "DEFAULT":
        message = "has no effect in a Sidecar: whether the application speaks HTTP/2, its port declares"
        yield rules.warning(f"{path}.http.h2UpgradePolicy", "NoEffect", message)


def check_default_endpoint(path: str, text: str) -> Iterator[Finding]:
    """Yield what is wrong with ``text``, where something beside the proxy listens; it may be empty."""
    if text.startswith(UNIX):
        yield from check_socket(path, text)
    elif text:
        host, _, port = text.rpartition(":")
        if host not in _LOCAL or not _PORT.match(port) or not 0 < int(port) <= MAX_PORT:
            expected = "127.0.0.1:PORT, [::1]:PORT, 0.0.0.0:PORT, [::]:PORT or unix://PATH"
            yield rules.out_of_range(path, expected, text)
        elif int(port) in OWN_PORTS:
            yield rules.out_of_range(path, "a port of the application: those from 15000 to 15099 are the proxy's own", text)


def _tls(path: str, tls: ServerTLSSettings, port: SidecarPort) -> Iterator[Finding]:
    if tls.mode not in ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"):
        yield rules.out_of_range(f"{path}.mode", "SIMPLE, MUTUAL or OPTIONAL_MUTUAL", tls.mode)
    if not parse_protocol(port.protocol).is_tls:
        yield rules.conflict(path, "expected a port whose protocol is HTTPS or TLS")
    unusable = (
        ("httpsRedirect", tls.https_redirect),
        ("subjectAltNames", tls.subject_alt_names),
        ("credentialName", tls.credential_name),
        ("credentialNames", tls.credential_names),
        ("tlsCertificates", tls.tls_certificates),
    )
    for name, setting in unusable:
        if setting:
            yield rules.conflict(f"{path}.{name}", "expected nothing here: a sidecar takes files, and does not redirect")
    if tls.ca_cert_credential_name:
        yield rules.warning(f"{path}.caCertCredentialName", "NoEffect", "has no effect: a sidecar takes files")
    if tls.mode == "SIMPLE":
        yield from _of_clients(path, tls)
    yield from check_cipher_suites(path, tls)
    files = [("serverCertificate", tls.server_certificate), ("privateKey", tls.private_key)]
    if tls.mode != "SIMPLE":
        files.append(("caCertificates", tls.ca_certificates))
    for name, file in files:
        if not file:
            yield rules.required(f"{path}.{name}", "a file")


def _of_clients(path: str, tls: ServerTLSSettings) -> Iterator[Finding]:
    """Yield what is said of the certificates of clients, who are asked for none."""
    for name, setting in (
        ("caCertificates", tls.ca_certificates),
        ("caCrl", tls.ca_crl),
        ("verifyCertificateSpki", tls.verify_certificate_spki),
        ("verifyCertificateHash", tls.verify_certificate_hash),
        ("insecureSkipVerify", tls.insecure_skip_verify),
    ):
        if setting:
            yield rules.warning(f"{path}.{name}", "NoEffect", "has no effect: SIMPLE asks clients for no certificate")


def check_cipher_suites(path: str, tls: ServerTLSSettings) -> Iterator[Finding]:
    """Yield the cipher suites of ``tls`` that are not known."""
    for index, text in enumerate(tls.cipher_suites):
        for name in unknown_suites(text):
            message = f"not every supported Envoy knows a cipher suite {name[:80]!r}: it is left out"
            yield rules.warning(f"{path}.cipherSuites[{index}]", "Ineffective", message)


def _port(path: str, port: SidecarPort) -> Iterator[Finding]:
    """Yield what is wrong with ``port``, whose protocol may be left out."""
    if port.protocol:
        yield from rules.protocol(f"{path}.protocol", port.protocol)
    if port.name:
        yield from rules.port_name(f"{path}.name", port.name)
    if port.target_port:
        yield rules.warning(f"{path}.targetPort", "NoEffect", "has no effect in a Sidecar: defaultEndpoint says where requests go")


def _bind(path: str, bind: str) -> Iterator[Finding]:
    if bind and not is_ip(bind):
        yield rules.out_of_range(path, "an IP address", bind)


def _host(path: str, text: str) -> Iterator[Finding]:
    namespace, slash, host = text.partition("/")
    if not slash or not namespace or not host:
        yield rules.out_of_range(path, "namespace/host", text)
        return
    if namespace not in (ANY, rules.OWN_NAMESPACE, rules.NO_NAMESPACE) and not is_label(namespace):
        yield rules.out_of_range(path, "a namespace, '*', '.' or '~' before the slash", text)
    if host == ANY:
        return
    yield from rules.host_name(path, host)
    if "." not in host or (host.startswith(ANY) and not host.startswith("*.")):
        yield rules.out_of_range(path, "a host in full, '*', or '*.' and a domain, after the slash", text)
