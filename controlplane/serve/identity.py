"""Everything about identities, put together: the authority, the certificates that are out, and the addresses that ask who comes."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import grpc
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca.certificates import BadCertificate
from controlplane.ca.leaf_certificates import MAX_LIFETIME, LeafCertificates
from controlplane.ca.manager import AuthorityManager, StateStore
from controlplane.serve.authn.authenticators import (
    AuthenticationFailure,
    Authenticator,
    CertificateAuthenticator,
    TokenAuthenticator,
    TokenReviewer,
)
from controlplane.serve.csr.service import CertificateSigner, csr_handler
from controlplane.serve.reports.streams import IdentifiedService
from controlplane.serve.sds.secrets import Secrets
from controlplane.serve.server import ListenAddress
from controlplane.serve.server_certificate import ServerCertificate

log = logging.getLogger(__name__)

_LOOK_S = 1.0
NAMES = ("localhost", "istiod.istio-system.svc", "istiod.istio-system.svc.cluster.local")
make_key = partial(ec.generate_private_key, ec.SECP256R1())


def now() -> dt.datetime:
    """Return the time."""
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityConfig:
    """What it is made of: where the authority is stored, who knows tokens, and chance."""

    store: StateStore
    accounts: TokenReviewer
    names: tuple[str, ...]  # by which proxies call us
    leaf_lifetime: dt.timedelta
    connection_age_s: float
    trust_domain: Callable[[], str]
    random: Callable[[], float]
    clock: Callable[[], dt.datetime] = now


class IdentityServer:
    """The identities of one control plane, from ``open`` on."""

    def __init__(self, means: IdentityConfig) -> None:
        """Make it by ``means``; nothing is read yet."""
        self._means = means
        self.manager = AuthorityManager(means.store, make_key, means.clock)
        self.leaf_certificates = LeafCertificates(means.leaf_lifetime, make_key, means.random)
        self.secrets = Secrets(self.manager, self.leaf_certificates, means.clock)
        self._serving = ServerCertificate(self.manager, means.names, make_key, means.clock)
        self.issuing = CertificateSigner(self.manager, means.clock, MAX_LIFETIME)
        self._doors: list[Authenticator] = []

    async def open(self) -> None:
        """Read the authority, or begin one; raises NavarchError, OSError."""
        await self.manager.open()
        self._serving.refresh()

    def entrances(
        self, by_token: str | None, by_certificate: str | None, services: Iterable[IdentifiedService]
    ) -> dict[str, ListenAddress]:
        """Return the entrances at the addresses where tokens are taken, and where certificates are asked for, by name.

        ``services`` are for those alone who have an identity.
        """
        means, found = self._means, dict[str, ListenAddress]()
        if by_token:
            tokens = TokenAuthenticator(lambda: self._serving.credentials(asks=False), means.accounts, means.trust_domain)
            self._doors.append(tokens)
            found["xds_tls"] = ListenAddress(by_token, tokens, self._known(tokens, services), means.connection_age_s)
        if by_certificate:
            certificates = CertificateAuthenticator(lambda: self._serving.credentials(asks=True), means.trust_domain)
            self._doors.append(certificates)
            found["xds_mtls"] = ListenAddress(by_certificate, certificates, self._known(certificates, services), means.connection_age_s)
        return found

    def refused(self) -> Counter[AuthenticationFailure]:
        """Return how often somebody was not let in who should have had an identity, by the reason."""
        return sum((each.refused for each in self._doors), Counter[AuthenticationFailure]())

    def _known(self, authenticator: Authenticator, services: Iterable[IdentifiedService]) -> tuple[grpc.GenericRpcHandler, ...]:
        return (csr_handler(self.issuing, authenticator), *(each.handler(authenticator) for each in services))

    async def run(self) -> None:
        """Renew and rotate until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.manager.run())
            tasks.create_task(self.secrets.run())
            tasks.create_task(self._serve())

    async def _serve(self) -> None:
        while True:
            try:
                self._serving.refresh()
            except BadCertificate:
                log.exception("serving certificate not issued")
            await asyncio.sleep(_LOOK_S)
