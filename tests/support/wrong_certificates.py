"""Certificates that are nearly right: of whom they say, by whom, when, and for what."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from controlplane.ca.certificates import Authority, authority, key_pem, read_certificates, workload_certificate
from controlplane.ca.file_store import FileStore
from controlplane.ca.rotation import load_state
from controlplane.model.identity import Identity
from tests.support.secure_control_plane import Secure

WHO = Identity("cluster.local", "default", "client")
HOUR = dt.timedelta(hours=1)


def signer(plane: Secure) -> Authority:
    stored = FileStore(plane.state).read_now()
    assert stored
    return load_state(stored).signing.signer


def made(
    issuer: Authority, *names: x509.GeneralName, ends: dt.timedelta = HOUR, purpose: x509.ObjectIdentifier | None = None
) -> tuple[bytes, bytes]:
    """Return a key and a certificate for ``names``, whatever they are."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + ends - 3 * HOUR)
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
    )
    if purpose:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return key_pem(key), builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def foreign(_: Secure) -> tuple[bytes, bytes]:
    now = dt.datetime.now(dt.UTC)
    return made(authority("somebody's", ec.generate_private_key(ec.SECP256R1()), now, HOUR), uri(WHO.uri))


def by_a_workload(plane: Secure) -> tuple[bytes, bytes]:
    """Return what a workload signs by its own certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    chain = workload_certificate(signer(plane), WHO, key.public_key(), dt.datetime.now(dt.UTC), HOUR)
    private, leaf = made(Authority(read_certificates(chain)[0], key), uri("spiffe://cluster.local/ns/default/sa/admin"))
    return private, leaf + chain


CERTIFICATES: dict[str, Callable[[Secure], tuple[bytes, bytes]]] = {
    "two identities": lambda plane: made(signer(plane), uri(WHO.uri), uri("spiffe://cluster.local/ns/default/sa/admin")),
    "an identity as a DNS name": lambda plane: made(signer(plane), x509.DNSName(WHO.uri)),
    "no identity": lambda plane: made(signer(plane), x509.DNSName("client.default")),
    "another trust domain": lambda plane: made(signer(plane), uri("spiffe://cluster.local.evil/ns/default/sa/client")),
    "something like an identity": lambda plane: made(signer(plane), uri("spiffe://cluster.local/ns/default/sa/..")),
    "a NUL byte": lambda plane: made(signer(plane), uri("spiffe://cluster.local/ns/default/sa/client\0.evil")),
    "an escape": lambda plane: made(signer(plane), uri("spiffe://cluster.local/ns/default/sa/%2f..")),
    "a query": lambda plane: made(signer(plane), uri("spiffe://cluster.local/ns/default/sa/client?x")),
    "a user": lambda plane: made(signer(plane), uri("spiffe://admin@cluster.local/ns/default/sa/client")),
    "a port": lambda plane: made(signer(plane), uri("spiffe://cluster.local:443/ns/default/sa/client")),
    "capital letters": lambda plane: made(signer(plane), uri("spiffe://CLUSTER.local/ns/default/sa/client")),
    "a slash at the end": lambda plane: made(signer(plane), uri("spiffe://cluster.local/ns/default/sa/client/")),
    "2,049 bytes": lambda plane: made(signer(plane), uri(f"spiffe://cluster.local/ns/default/sa/{'a' * 2018}")),
    "another path": lambda plane: made(signer(plane), uri("spiffe://cluster.local/default/client")),
    "another authority": foreign,
    "a workload's signature": by_a_workload,
    "for servers alone": lambda plane: made(signer(plane), uri(WHO.uri), purpose=ExtendedKeyUsageOID.SERVER_AUTH),
    "not valid yet": lambda plane: made(signer(plane), uri(WHO.uri), ends=4 * HOUR),
    "expired": lambda plane: made(signer(plane), uri(WHO.uri), ends=-HOUR),
}
