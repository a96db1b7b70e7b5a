"""Certificates as people bring them to a gateway: of an authority of their own, for host names."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass
class Authority:
    """Who signs; its certificate is ``pem``."""

    name: str = "an authority"
    key: EllipticCurvePrivateKey = field(default_factory=lambda: generate_private_key(SECP256R1()))

    def __post_init__(self) -> None:
        """Sign its own certificate."""
        constraint = x509.BasicConstraints(ca=True, path_length=0)
        self.pem = self._signed(self.name, self.key, constraint, None)

    def issue(self, *names: str) -> tuple[bytes, bytes]:
        """Return a certificate for the host ``names``, or URIs, and its key, as PEM."""
        key = generate_private_key(SECP256R1())
        alternatives = x509.SubjectAlternativeName(
            [x509.UniformResourceIdentifier(each) if "://" in each else x509.DNSName(each) for each in names]
        )
        chain = self._signed(names[0][:60], key, x509.BasicConstraints(ca=False, path_length=None), alternatives)
        return chain, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def _signed(
        self, subject: str, key: EllipticCurvePrivateKey, constraint: x509.BasicConstraints, names: x509.SubjectAlternativeName | None
    ) -> bytes:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=2))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(constraint, critical=True)
        )
        if names:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def write_files(folder: Path, *names: str, authority: Authority | None = None) -> Authority:
    """Write ``tls.crt``, ``tls.key`` and ``ca.crt`` for the host ``names`` into ``folder``, and return who signed."""
    signer = authority or Authority()
    chain, key = signer.issue(*names)
    folder.mkdir(exist_ok=True)
    for name, content in {"tls.crt": chain, "tls.key": key, "ca.crt": signer.pem}.items():
        (folder / name).write_bytes(content)
    return signer


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
