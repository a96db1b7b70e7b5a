"""Everything about identities, put together: the authority, the certificates it has issued, and the addresses that authenticate callers."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import grpc
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca.certificates import BadCertificate
from controlplane.ca.leaf_certificates import MAX_LIFETIME, LeafCertificates
from controlplane.ca.manager import AuthorityManager, StateStore
from controlplane.serve.authn.authenticators import Authenticator, CertificateAuthenticator, TokenAuthenticator, TokenReviewer
from controlplane.serve.authn.connection_age import ConnectionAge
from controlplane.serve.authn.refused_callers import RefusedCallers
from controlplane.serve.csr.service import CertificateSigner, csr_handler
from controlplane.serve.reports.streams import IdentifiedService
from controlplane.serve.sds.secrets import NamesOf, Secrets
from controlplane.serve.server import ListenAddress
from controlplane.serve.server_certificate import ServerCertificate

log = logging.getLogger(__name__)

_CHECK_S = 1.0
NAMES = ("localhost", "127.0.0.1", "::1", "istiod.istio-system.svc", "istiod.istio-system.svc.cluster.local")
make_key = partial(ec.generate_private_key, ec.SECP256R1())


def now() -> dt.datetime:
    """Return the time."""
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityConfig:
    """What an IdentityServer needs: where the authority is stored, what checks tokens, names, times, and chance."""

    store: StateStore
    token_reviewer: TokenReviewer
    names: tuple[str, ...]  # by which proxies call us
    leaf_lifetime: dt.timedelta
    connection_age_s: float
    trust_domain: Callable[[], str]
    random: Callable[[], float]
    names_of: NamesOf  # what certificates call the workloads of pods
    clock: Callable[[], dt.datetime] = now


class IdentityServer:
    """The identities of one control plane, from ``open`` on."""

    def __init__(self, config: IdentityConfig) -> None:
        """Make it by ``config``; nothing is read yet."""
        self._config = config
        self.manager = AuthorityManager(config.store, make_key, config.clock)
        self.leaf_certificates = LeafCertificates(config.leaf_lifetime, make_key, config.random)
        self.secrets = Secrets(self.manager, self.leaf_certificates, config.clock, config.names_of)
        self.server_certificate = ServerCertificate(self.manager, config.names, make_key, config.clock)
        self.certificate_signer = CertificateSigner(self.manager, config.clock, MAX_LIFETIME, names_of=config.names_of)

    async def open(self) -> None:
        """Read the authority, or begin one; raises NavarchError, OSError."""
        await self.manager.open()
        self.server_certificate.refresh()

    def listen_addresses(
        self, by_token: str | None, by_certificate: str | None, services: Iterable[IdentifiedService], refused: RefusedCallers
    ) -> dict[str, ListenAddress]:
        """Return the addresses that authenticate ``by_token`` and ``by_certificate``, as far as there are any, by name.

        ``services`` are only for callers that have an identity; others are ``refused``.
        """
        config, addresses = self._config, dict[str, ListenAddress]()
        if by_token:
            tokens = TokenAuthenticator(
                lambda: self.server_certificate.credentials(require_client_certificate=False),
                config.token_reviewer,
                config.trust_domain,
                refused,
                ConnectionAge(config.connection_age_s, config.random),
            )
            addresses["xds_tls"] = ListenAddress(by_token, tokens, self._handlers(tokens, services), option="--xds-tls")
        if by_certificate:
            certificates = CertificateAuthenticator(
                lambda: self.server_certificate.credentials(require_client_certificate=True),
                config.trust_domain,
                refused,
                ConnectionAge(config.connection_age_s, config.random),
            )
            addresses["xds_mtls"] = ListenAddress(by_certificate, certificates, self._handlers(certificates, services), option="--xds-mtls")
        return addresses

    def _handlers(self, authenticator: Authenticator, services: Iterable[IdentifiedService]) -> tuple[grpc.GenericRpcHandler, ...]:
        return (csr_handler(self.certificate_signer, authenticator), *(service.handler(authenticator) for service in services))

    async def run(self) -> None:
        """Renew and rotate until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.manager.run())
            tasks.create_task(self.secrets.run())
            tasks.create_task(self._refresh_server_certificate())

    async def _refresh_server_certificate(self) -> None:
        while True:
            try:
                self.server_certificate.refresh()
            except BadCertificate:
                log.exception("serving certificate not issued")
            await asyncio.sleep(_CHECK_S)
