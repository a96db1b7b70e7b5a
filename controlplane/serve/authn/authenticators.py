"""By which address somebody comes in, and who that makes them. One way to know an address; nobody is let in for want of a reason not to."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import grpc
import grpc.aio

from controlplane.ca.certificates import BadCertificate, uri_of
from controlplane.errors import NavarchError
from controlplane.model.identity import BadIdentity, Identity, parse_identity

log = logging.getLogger(__name__)


class AuthenticationFailure(StrEnum):
    """Why somebody is not let in, in few words, as metrics need them."""

    NO_TOKEN = "no_token"  # noqa: S105
    TOKEN = "token"  # noqa: S105
    CERTIFICATE = "certificate"
    TRUST_DOMAIN = "trust_domain"
    UNDECIDED = "undecided"  # it cannot be known now
    FAULT = "fault"  # of ours
    NODE = "node"  # it says that it is somebody else


class Unauthenticated(NavarchError):
    """Nobody we believe to be who they say; the text is for our log, whoever came is told no reason."""

    def __init__(self, text: str, refusal: AuthenticationFailure = AuthenticationFailure.TOKEN) -> None:
        """Say why in the ``text``, and in ``refusal``."""
        super().__init__(text)
        self.refusal = refusal


class AuthenticationUnavailable(NavarchError):
    """Whether somebody is who they say cannot be known now: they may come again."""


class CallContext(Protocol):
    """What is known of a connection."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Return what TLS has made known of the peer."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Return the request's metadata."""


@dataclass(frozen=True, slots=True)
class TokenSubject:
    """Whom a token speaks for; ``pod`` is empty where it is not bound to one."""

    namespace: str
    name: str
    pod: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who came in; ``who`` is ``None`` at an address where nobody is asked."""

    who: Identity | None
    pod: str = ""


class TokenReviewer(Protocol):
    """Knows whom tokens speak for."""

    async def account(self, token: str) -> TokenSubject:
        """Return whom ``token`` speaks for; raises Denied, Undecided."""


class Authenticator(Protocol):
    """How an address knows who comes in."""

    secure: bool
    refused: Counter[AuthenticationFailure]  # how often somebody was not let in

    def credentials(self) -> grpc.ServerCredentials | None:
        """Return what the port is opened with, ``None`` for plaintext."""

    async def caller(self, context: CallContext) -> Caller:
        """Return who came in; raises Denied, Undecided."""


class PlaintextAuthenticator:
    """Nobody is asked, and nobody gets anything secret."""

    secure = False

    def __init__(self) -> None:
        """Let everybody in."""
        self.refused = Counter[AuthenticationFailure]()

    def credentials(self) -> None:
        """Return nothing: the port is open."""
        return

    async def caller(self, context: CallContext) -> Caller:
        """Return nobody in particular."""
        del context
        return Caller(None)


class TokenAuthenticator:
    """TLS by our certificate, and a token from whoever comes."""

    secure = True

    def __init__(
        self, certificates: Callable[[], grpc.ServerCredentials], accounts: TokenReviewer, trust_domain: Callable[[], str]
    ) -> None:
        """Open with ``certificates``; believe tokens that ``accounts`` does, for identities of ``trust_domain``."""
        self.refused = Counter[AuthenticationFailure]()
        self.credentials = certificates
        self._accounts = accounts
        self._trust_domain = trust_domain

    async def caller(self, context: CallContext) -> Caller:
        """Return the account that the one token speaks for."""
        given = [value for name, value in context.invocation_metadata() or () if name == "authorization"]
        if len(given) != 1 or not isinstance(given[0], str) or not given[0].startswith("Bearer "):
            raise Unauthenticated("expected one token", AuthenticationFailure.NO_TOKEN)
        account = await self._accounts.account(given[0].removeprefix("Bearer ").strip())
        try:
            return Caller(Identity(self._trust_domain(), account.namespace, account.name), account.pod)
        except BadIdentity as error:
            raise Unauthenticated(str(error)) from error


class CertificateAuthenticator:
    """TLS both ways: a certificate by our authority from whoever comes."""

    secure = True

    def __init__(self, certificates: Callable[[], grpc.ServerCredentials], trust_domain: Callable[[], str]) -> None:
        """Open with ``certificates``, which ask for one; believe identities of ``trust_domain``."""
        self.refused = Counter[AuthenticationFailure]()
        self.credentials = certificates
        self._trust_domain = trust_domain

    async def caller(self, context: CallContext) -> Caller:
        """Return the identity of the peer's certificate: by gRPC, which has verified it, and by the certificate itself.

        gRPC names it only where there is exactly one URI, but ends it at a NUL. The list of all names is of no use: it does not tell a DNS
        name from a URI.
        """
        known = context.auth_context()
        said, shown = tuple(known.get("peer_spiffe_id", ())), tuple(known.get("x509_pem_cert", ()))
        if len(said) != 1 or len(shown) != 1:
            raise Unauthenticated("the certificate has not exactly one identity", AuthenticationFailure.CERTIFICATE)
        try:
            who = parse_identity(uri_of(shown[0]))
        except (BadIdentity, BadCertificate) as error:
            raise Unauthenticated(str(error), AuthenticationFailure.CERTIFICATE) from error
        if who.uri.encode() != said[0]:
            raise Unauthenticated("the certificate's identity can be read in two ways", AuthenticationFailure.CERTIFICATE)
        if who.trust_domain != self._trust_domain():
            raise Unauthenticated("the certificate is of another trust domain", AuthenticationFailure.TRUST_DOMAIN)
        return Caller(who)
