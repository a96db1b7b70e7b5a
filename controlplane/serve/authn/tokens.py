"""Checks service account tokens: by the API server, or by our own key where there is none."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from controlplane.ca.tokens import MAX_BYTES, BadToken, service_account_of, verify_token
from controlplane.kube.client import Client
from controlplane.kube.errors import KubernetesError
from controlplane.kube.resources import TOKEN_REVIEWS
from controlplane.serve.authn.authenticators import AuthenticationUnavailable, TokenSubject, Unauthenticated
from controlplane.untyped import Json, section, text

_CACHED_S = 30.0  # a token is not reviewed again for so long: that of a deleted pod works until then
_MAX_CACHED = 10_000
_REVIEW_TIMEOUT_S = 5.0  # within which the API server has to answer; the caller tries again
_POD = "authentication.kubernetes.io/pod-name"


class _SubjectCache:
    """The subjects of tokens that were checked not long ago; refusals are not cached."""

    def __init__(self) -> None:
        """Begin empty."""
        self._entries: OrderedDict[bytes, tuple[float, TokenSubject]] = OrderedDict()  # by the token's digest, oldest first

    def subject(self, digest: bytes, now: float) -> TokenSubject | None:
        """Return the subject of the token of ``digest``, if it is cached and still holds ``now``."""
        while self._entries and (next(iter(self._entries.values()))[0] <= now or len(self._entries) > _MAX_CACHED):
            self._entries.popitem(last=False)
        entry = self._entries.get(digest)
        return entry[1] if entry and entry[0] > now else None

    def keep(self, digest: bytes, until: float, subject: TokenSubject) -> None:
        """Keep ``subject`` as that of the token of ``digest``, ``until`` then."""
        self._entries[digest] = (until, subject)


class LocalTokens:
    """Tokens that are signed by us (``navarch token``): checked with the key alone."""

    def __init__(self, key: EllipticCurvePublicKey, audience: str, clock: Callable[[], dt.datetime]) -> None:
        """Accept tokens by ``key`` for ``audience``."""
        self._key = key
        self._audience = audience
        self._clock = clock
        self._cache = _SubjectCache()

    async def subject(self, token: str) -> TokenSubject:
        """Return the subject of ``token``; raises Unauthenticated."""
        digest, now = _digest(token), self._clock()
        if cached := self._cache.subject(digest, now.timestamp()):
            return cached
        try:
            claims = verify_token(token, self._key, self._audience, now)
        except BadToken as error:
            raise Unauthenticated(str(error)) from error
        subject = TokenSubject(claims.namespace, claims.name, claims.pod)
        self._cache.keep(digest, min(now.timestamp() + _CACHED_S, claims.expires_at), subject)
        return subject


class TokenReviews:
    """Service accounts' tokens, by the API server's TokenReview.

    https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/
    """

    def __init__(self, client: Client, audience: str, monotonic: Callable[[], float]) -> None:
        """Ask by ``client`` about tokens for ``audience``."""
        self._client = client
        self._audience = audience
        self._monotonic = monotonic
        self._cache = _SubjectCache()

    async def subject(self, token: str) -> TokenSubject:
        """Return the subject of ``token``; raises Unauthenticated, and AuthenticationUnavailable where the API server cannot be asked."""
        if len(token) > MAX_BYTES:
            raise Unauthenticated("the token is too long")
        digest, now = _digest(token), self._monotonic()
        if cached := self._cache.subject(digest, now):
            return cached
        body: Json = {
            "apiVersion": TOKEN_REVIEWS.api_version,
            "kind": TOKEN_REVIEWS.kind,
            "spec": {"token": token, "audiences": [self._audience]},
        }
        try:
            async with asyncio.timeout(_REVIEW_TIMEOUT_S):
                answer = await self._client.create(TOKEN_REVIEWS.path(), body)
        except (KubernetesError, TimeoutError) as error:
            raise AuthenticationUnavailable(f"the API server cannot be asked: {type(error).__name__}") from error
        subject = self._subject_of(section(answer, "status"))
        self._cache.keep(digest, now + _CACHED_S, subject)
        return subject

    def _subject_of(self, status: Json) -> TokenSubject:
        if status.get("authenticated") is not True:
            raise Unauthenticated(f"the API server does not know the token: {text(status, 'error')[:200]}")
        audiences = status.get("audiences")
        if not isinstance(audiences, list) or self._audience not in audiences:
            raise Unauthenticated("the token is for another audience")  # an API server that knows of no audiences would say nothing
        user = section(status, "user")
        try:
            namespace, name = service_account_of(text(user, "username"))
        except BadToken as error:
            raise Unauthenticated(str(error)) from error
        pods = section(user, "extra").get(_POD)
        return TokenSubject(namespace, name, pods[0] if isinstance(pods, list) and pods and isinstance(pods[0], str) else "")


def _digest(token: str) -> bytes:
    return sha256(token.encode(errors="surrogatepass")).digest()
