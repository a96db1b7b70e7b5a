"""The certificate that the server itself shows, always one of today: whoever connects sees the newest, whoever is connected stays."""

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
    """The server's certificate, and whose certificates it believes."""

    def __init__(
        self,
        authority: SigningAuthority,
        names: tuple[str, ...],
        make_key: Callable[[], EllipticCurvePrivateKey],
        clock: Callable[[], dt.datetime],
    ) -> None:
        """Show certificates by ``authority`` for the DNS ``names``."""
        self._authority = authority
        self._names = names
        self._make_key = make_key
        self._clock = clock
        self._state: AuthorityState | None = None
        self._renew_at = clock()
        self._shown: _CurrentCertificate | None = None

    @property
    def shown(self) -> _CurrentCertificate:
        """Return what is shown, made now where there is nothing; raises BadCertificate."""
        if self._shown is None:
            self.refresh()
        if self._shown is None:
            raise RuntimeError("a certificate was made")
        return self._shown

    def refresh(self) -> None:
        """Show another certificate where it is time, or whoever signs is another; raises BadCertificate."""
        now, state = self._clock(), self._authority.state
        if self._shown and state == self._state and now < self._renew_at:
            return
        pair = server_certificate(state.signing.signer, self._names, self._make_key(), now, _LIFETIME)
        number = self._shown.number + 1 if self._shown else 0
        self._shown, self._state = _CurrentCertificate(number, pair, state.bundle), state
        self._renew_at = now + (expires_at(pair.certificate) - now) / 2

    def credentials(self, *, asks: bool) -> grpc.ServerCredentials:
        """Return what a port is opened with; ``asks``: whoever connects has to show a certificate too.

        gRPC cannot ask for one that may be absent, which is why there are two addresses.
        """
        seen = self.shown.number

        def fetch() -> grpc.ServerCertificateConfiguration | None:  # called at each handshake, on a thread of gRPC's
            nonlocal seen
            shown = self.shown
            if shown.number == seen:
                return None
            seen = shown.number
            return _configuration(shown, asks=asks)

        first = _configuration(self.shown, asks=asks)
        return grpc.dynamic_ssl_server_credentials(first, fetch, asks)  # type: ignore[arg-type]  # None means: as before


def _configuration(shown: _CurrentCertificate, *, asks: bool) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(shown.pair.key, shown.pair.certificate)], root_certificates=shown.bundle if asks else None
    )
