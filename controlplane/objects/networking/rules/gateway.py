"""What Gateways must keep to.

https://istio.io/latest/docs/reference/config/networking/gateway/
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.hosts import ANY, is_ip
from controlplane.model.protocols import Protocol, parse_protocol
from controlplane.objects.networking.gateway import Gateway, GatewayServer
from controlplane.objects.networking.rules.service_entry import UNIX, check_socket
from controlplane.objects.networking.rules.sidecar import check_cipher_suites, check_default_endpoint
from controlplane.objects.networking.sidecar import ServerTLSSettings
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import is_label
from controlplane.objects.types.rules import OWN_NAMESPACE
from controlplane.objects.types.validation_errors import for_message

_OF_FILES = ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL")


def check(gateway: Gateway) -> Iterator[Finding]:
    """Yield what is wrong with ``gateway``."""
    if not gateway.spec.servers:
        yield rules.required("spec.servers", "at least one server")
    port_names: set[str] = set()
    names: set[str] = set()
    for index, server in enumerate(gateway.spec.servers):
        path, name = f"spec.servers[{index}]", server.port.name
        yield from _server(path, server)
        if name and name in port_names:
            yield rules.conflict(f"{path}.port.name", f"expected each server to name its port otherwise, found {for_message(name)} again")
        port_names.add(name)
        if server.name and server.name in names:
            yield rules.warning(
                f"{path}.name", "Conflict", f"expected each server to have a name of its own, found {for_message(server.name)} again"
            )
        names.add(server.name)


def _server(path: str, server: GatewayServer) -> Iterator[Finding]:
    port = server.port
    if server.bind.startswith(UNIX):
        yield from check_socket(f"{path}.bind", server.bind)
        if port.number:
            yield rules.conflict(f"{path}.port.number", f"expected 0 with a Unix domain socket, found {port.number}")
    else:
        yield from rules.port_number(f"{path}.port.number", port.number)
    yield from rules.protocol(f"{path}.port.protocol", port.protocol)
    if not port.name:
        yield rules.required(f"{path}.port.name", "a name")
    if not server.hosts:
        yield rules.required(f"{path}.hosts", "at least one host")
    for index, host in enumerate(server.hosts):
        yield from _host(f"{path}.hosts[{index}]", host)
    yield from check_default_endpoint(f"{path}.defaultEndpoint", server.default_endpoint)
    if port.target_port:
        message = "has no effect: the Service of the gateway says where its ports lead"
        yield rules.warning(f"{path}.port.targetPort", "NoEffect", message)
    if server.tls is not None:
        yield from _tls(f"{path}.tls", server.tls)
        yield from _tls_of_plaintext(path, server, server.tls)
    elif parse_protocol(port.protocol).is_tls:
        yield rules.required(f"{path}.tls", f"how TLS is done, as the protocol is {port.protocol}")


def _tls_of_plaintext(path: str, server: GatewayServer, tls: ServerTLSSettings) -> Iterator[Finding]:
    """Yield that ``server`` has TLS settings, and a protocol by which it takes plaintext; of those HTTP alone can redirect to HTTPS."""
    protocol = parse_protocol(server.port.protocol)
    if protocol.is_tls and tls.https_redirect:
        yield rules.warning(f"{path}.tls.httpsRedirect", "NoEffect", "has no effect: requests come by TLS already")
    if protocol is Protocol.UNSUPPORTED or protocol.is_tls:
        return
    if not protocol.is_http:
        message = (
            f"expected none where the protocol is {server.port.protocol}, which is taken in plaintext; with TLS as the protocol it is ended"
        )
        yield rules.conflict(f"{path}.tls", message)
        return
    without_effect = tls.model_fields_set - ({"https_redirect", "mode"} if tls.https_redirect else {"https_redirect"})
    if without_effect:
        message = f"requests are taken in plaintext, as the protocol is {server.port.protocol}: of these settings only httpsRedirect counts"
        yield rules.warning(f"{path}.tls", "NoEffect", message)


def _host(path: str, text: str) -> Iterator[Finding]:
    namespace, slash, host = text.partition("/")
    if not slash:
        namespace, host = ANY, text
    if namespace not in (ANY, OWN_NAMESPACE) and not is_label(namespace):
        yield rules.out_of_range(path, "a namespace, '*' or '.' before the slash", text)
    if host == ANY or is_ip(host):
        return
    yield from rules.host_name(path, host)
    if "." not in host or (host.startswith(ANY) and not host.startswith("*.")):
        yield rules.out_of_range(path, "a host in full, '*', or '*.' and a domain", text)


def _tls(path: str, tls: ServerTLSSettings) -> Iterator[Finding]:
    yield from check_cipher_suites(path, tls)
    yield from rules.credential(f"{path}.credentialName", tls.credential_name)
    yield from rules.credential(f"{path}.caCertCredentialName", tls.ca_cert_credential_name)
    for index, name in enumerate(tls.credential_names):
        yield from rules.credential(f"{path}.credentialNames[{index}]", name)
    files = bool(tls.server_certificate and tls.private_key)
    certificate_sources = [bool(tls.credential_name), bool(tls.credential_names), bool(tls.tls_certificates), files]
    if tls.mode == "ISTIO_MUTUAL":
        certificate_fields = (
            "server_certificate",
            "private_key",
            "ca_certificates",
            "credential_name",
            "credential_names",
            "tls_certificates",
        )
        if any(getattr(tls, name) for name in certificate_fields):
            yield rules.conflict(path, "expected no certificates of its own: ISTIO_MUTUAL uses those of the mesh")
        return
    if sum(certificate_sources) > 1:
        yield rules.conflict(path, "expected one of credentialName, credentialNames, tlsCertificates, or a certificate with its key")
    if tls.mode not in _OF_FILES:
        return
    if tls.mode == "SIMPLE" and tls.ca_crl:
        yield rules.warning(f"{path}.caCrl", "NoEffect", "has no effect: SIMPLE asks clients for no certificate")
    if tls.credential_name or tls.credential_names:
        for name, file in (("serverCertificate", tls.server_certificate), ("privateKey", tls.private_key)):
            if file and not files:
                yield rules.warning(f"{path}.{name}", "NoEffect", "has no effect beside a credential")
    else:
        yield from _certificates(path, tls)


def _certificates(path: str, tls: ServerTLSSettings) -> Iterator[Finding]:
    pairs = [
        (f"{path}.tlsCertificates[{index}]", pair.server_certificate, pair.private_key) for index, pair in enumerate(tls.tls_certificates)
    ]
    for index, pair in enumerate(tls.tls_certificates):
        if pair.ca_certificates:
            message = "clients are checked by the caCertificates beside tlsCertificates alone"
            yield rules.warning(f"{path}.tlsCertificates[{index}].caCertificates", "NoEffect", message)
    for pair_path, certificate, key in pairs or [(path, tls.server_certificate, tls.private_key)]:
        if not certificate:
            yield rules.required(f"{pair_path}.serverCertificate", "a server certificate, or a credentialName")
        if not key:
            yield rules.required(f"{pair_path}.privateKey", "a private key, or a credentialName")
    if tls.mode != "SIMPLE" and not (tls.ca_certificates or tls.ca_cert_credential_name):
        yield rules.required(f"{path}.caCertificates", "the authorities of clients")
