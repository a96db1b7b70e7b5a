"""Who a caller is. Each address has one way to tell, and without a proof of identity the caller is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import grpc
import grpc.aio

from controlplane.ca.certificates import BadCertificate, uri_of
from controlplane.errors import PeerError, PlatformError
from controlplane.model.identity import BadIdentity, Identity, parse_identity
from controlplane.serve.authn.call_rate import CallRate
from controlplane.serve.authn.connection_age import ConnectionAge
from controlplane.serve.authn.refused_callers import AuthenticationFailure, RefusedCallers

log = logging.getLogger(__name__)


class Unauthenticated(PeerError):
    """The caller has not proved who it is; the text is for the log, the caller gets no reason."""

    def __init__(self, text: str, refusal: AuthenticationFailure = AuthenticationFailure.TOKEN) -> None:
        """Give the reason as ``text``, and as ``refusal``."""
        super().__init__(text)
        self.refusal = refusal


class AuthenticationUnavailable(PlatformError):
    """Who the caller is cannot be checked now; it may try again."""


class CallContext(Protocol):
    """A gRPC call, as far as it tells who the caller is."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Return what TLS has verified of the peer."""

    def peer(self) -> str:
        """Return the peer's address and port, as gRPC writes them."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Return the request's metadata."""


@dataclass(frozen=True, slots=True)
class TokenSubject:
    """The service account of a token; ``pod`` is empty where the token is not bound to one."""

    namespace: str
    name: str
    pod: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who has called; ``who`` is ``None`` at an address that does not authenticate."""

    who: Identity | None
    pod: str = ""
    until: float | None = None  # of the monotonic clock: how long that is believed; None: as long as the call takes


class TokenReviewer(Protocol):
    """Checks tokens."""

    async def subject(self, token: str) -> TokenSubject:
        """Return the service account of ``token``; raises Unauthenticated, AuthenticationUnavailable."""


class Authenticator(Protocol):
    """How an address authenticates its callers."""

    secure: bool
    refused: RefusedCallers
    call_rate: CallRate

    @property
    def age(self) -> ConnectionAge | None:
        """Return how old connections may become, None where none is too old."""

    def credentials(self) -> grpc.ServerCredentials | None:
        """Return what the port is opened with, ``None`` for plaintext."""

    async def caller(self, context: CallContext) -> Caller:
        """Return the caller; raises Unauthenticated, AuthenticationUnavailable."""


class PlaintextAuthenticator:
    """Plaintext: callers are anonymous, and get nothing secret."""

    secure = False
    age = None

    def __init__(self, refused: RefusedCallers) -> None:
        """Admit every caller; those whose nodes are bad are ``refused``."""
        self.refused = refused
        self.call_rate = CallRate()

    def credentials(self) -> None:
        """Return ``None``: the port is opened without TLS."""
        return

    async def caller(self, context: CallContext) -> Caller:
        """Return the anonymous caller."""
        del context
        return Caller(None)


class TokenAuthenticator:
    """TLS with the server's certificate, and a token from the caller."""

    secure = True

    def __init__(
        self,
        certificates: Callable[[], grpc.ServerCredentials],
        token_reviewer: TokenReviewer,
        trust_domain: Callable[[], str],
        refused: RefusedCallers,
        age: ConnectionAge,
    ) -> None:
        """Open with ``certificates``; check tokens by ``token_reviewer``, identities are of ``trust_domain`` and believed for ``age``."""
        self.refused = refused
        self.call_rate = CallRate()
        self.age = age
        self.credentials = certificates
        self._token_reviewer = token_reviewer
        self._trust_domain = trust_domain

    async def caller(self, context: CallContext) -> Caller:
        """Return the service account of the one token."""
        tokens = [header for name, header in context.invocation_metadata() or () if name == "authorization"]
        if len(tokens) != 1 or not isinstance(tokens[0], str) or not tokens[0].startswith("Bearer "):
            raise Unauthenticated("expected one token", AuthenticationFailure.NO_TOKEN)
        subject = await self._token_reviewer.subject(tokens[0].removeprefix("Bearer ").strip())
        try:
            return Caller(Identity(self._trust_domain(), subject.namespace, subject.name), subject.pod)
        except BadIdentity as error:
            raise Unauthenticated(str(error)) from error


class CertificateAuthenticator:
    """Mutual TLS: a certificate by our authority from the caller."""

    secure = True

    def __init__(
        self,
        certificates: Callable[[], grpc.ServerCredentials],
        trust_domain: Callable[[], str],
        refused: RefusedCallers,
        age: ConnectionAge,
    ) -> None:
        """Open with ``certificates``, which ask for one; accept identities of ``trust_domain``, believed for ``age``."""
        self.refused = refused
        self.call_rate = CallRate()
        self.age = age
        self.credentials = certificates
        self._trust_domain = trust_domain

    async def caller(self, context: CallContext) -> Caller:
        """Return the identity of the peer's certificate: by gRPC, which has verified it, and by the certificate itself.

        gRPC names it only where there is exactly one URI, but ends it at a NUL. The list of all names is of no use: it does not tell a DNS
        name from a URI.
        """
        tls = context.auth_context()
        spiffe_ids, certificates = tuple(tls.get("peer_spiffe_id", ())), tuple(tls.get("x509_pem_cert", ()))
        if len(spiffe_ids) != 1 or len(certificates) != 1:
            raise Unauthenticated("the certificate has not exactly one identity", AuthenticationFailure.CERTIFICATE)
        try:
            identity = parse_identity(uri_of(certificates[0]))
        except (BadIdentity, BadCertificate) as error:
            raise Unauthenticated(str(error), AuthenticationFailure.CERTIFICATE) from error
        if identity.uri.encode() != spiffe_ids[0]:
            raise Unauthenticated("the certificate's identity can be read in two ways", AuthenticationFailure.CERTIFICATE)
        if identity.trust_domain != self._trust_domain():
            raise Unauthenticated("the certificate is of another trust domain", AuthenticationFailure.TRUST_DOMAIN)
        return Caller(identity)
