"""Certificates, keys and authorities that users keep in Secrets: looked at as those will who use them. Pure.

https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/#key-formats
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from controlplane.ca.certificates import BadCertificate, read_certificates

_MAX_BYTES = 1 << 20


def certificate_and_key(entries: Mapping[str, bytes], names: tuple[Sequence[str], Sequence[str]], now: dt.datetime) -> tuple[bytes, bytes]:
    """Return the certificates and the key in ``entries``, each under the first of its ``names`` that there is, as PEM.

    Raises BadCertificate where one is missing, is none or not good ``now``, or the key is another's; the text tells nothing of the content.
    """
    chain, key = (_entry(entries, alternatives) for alternatives in names)
    [leaf, *_] = read_certificates(chain)
    _check_times(leaf, now)
    try:
        private_key = serialization.load_pem_private_key(key, None)
        matches = private_key.public_key() == leaf.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadCertificate("the key is no private key in PEM without a password") from error
    if not matches:
        raise BadCertificate("the key is not that of the certificate")
    return chain, key


def ca_certificates(entries: Mapping[str, bytes], names: Sequence[str], now: dt.datetime) -> bytes:
    """Return the authorities in ``entries``, under the first of ``names`` that there is, as PEM; raises BadCertificate."""
    pem = _entry(entries, names)
    certificates = read_certificates(pem)
    if all(certificate.not_valid_after_utc <= now for certificate in certificates):
        _check_times(certificates[0], now)
    return pem


def _entry(entries: Mapping[str, bytes], names: Sequence[str]) -> bytes:
    for name in names:
        if entry := entries.get(name):
            if len(entry) > _MAX_BYTES:
                raise BadCertificate(f"{name} is longer than {_MAX_BYTES} bytes")
            return entry
    raise BadCertificate(f"it has no {' and no '.join(names)}")


def _check_times(certificate: x509.Certificate, now: dt.datetime) -> None:
    if certificate.not_valid_after_utc <= now:
        raise BadCertificate(f"the certificate has expired: it was good until {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if certificate.not_valid_before_utc > now:
        raise BadCertificate(f"the certificate is not good before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")
