"""The certificate that the server itself presents, renewed in time: new connections get the newest, open ones stay."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from controlplane.ca.certificates import CertificateAndKey, expires_at, server_certificate
from controlplane.ca.rotation import AuthorityState
from controlplane.serve.sds.secrets import SigningAuthority

_LIFETIME = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _CurrentCertificate:
    number: int
    pair: CertificateAndKey
    bundle: bytes


class ServerCertificate:
    """The server's certificate, and the roots of the client certificates that it accepts."""

    def __init__(
        self,
        authority: SigningAuthority,
        names: tuple[str, ...],
        make_key: Callable[[], EllipticCurvePrivateKey],
        clock: Callable[[], dt.datetime],
    ) -> None:
        """Present certificates by ``authority`` for the DNS ``names``."""
        self._authority = authority
        self._names = names
        self._make_key = make_key
        self._clock = clock
        self._state: AuthorityState | None = None
        self._renew_at = clock()
        self._current: _CurrentCertificate | None = None

    @property
    def current(self) -> _CurrentCertificate:
        """Return the certificate to present, made now where there is none; raises BadCertificate."""
        if self._current is None:
            self.refresh()
        if self._current is None:
            raise RuntimeError("a certificate was made")
        return self._current

    def refresh(self) -> None:
        """Make a new certificate where it is time, or the authority's state has changed; raises BadCertificate."""
        now, state = self._clock(), self._authority.state
        if self._current and state == self._state and now < self._renew_at:
            return
        pair = server_certificate(state.signing.signer, self._names, self._make_key(), now, _LIFETIME)
        number = self._current.number + 1 if self._current else 0
        self._current, self._state = _CurrentCertificate(number, pair, state.bundle), state
        self._renew_at = now + (expires_at(pair.certificate) - now) / 2

    def credentials(self, *, require_client_certificate: bool) -> grpc.ServerCredentials:
        """Return what a port is opened with; ``require_client_certificate``: clients have to present one too.

        gRPC cannot ask for one that may be absent, which is why there are two addresses.
        """
        current_number = self.current.number

        def fetch() -> grpc.ServerCertificateConfiguration | None:  # called at each handshake, on a thread of gRPC's
            nonlocal current_number
            current = self.current
            if current.number == current_number:
                return None
            current_number = current.number
            return _configuration(current, require_client_certificate=require_client_certificate)

        first = _configuration(self.current, require_client_certificate=require_client_certificate)
        return grpc.dynamic_ssl_server_credentials(first, fetch, require_client_certificate)  # type: ignore[arg-type]  # None means: as before


def _configuration(current: _CurrentCertificate, *, require_client_certificate: bool) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(current.pair.key, current.pair.certificate)], root_certificates=current.bundle if require_client_certificate else None
    )
