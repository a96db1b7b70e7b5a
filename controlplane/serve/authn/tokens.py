"""Whom tokens speak for: by the API server, or by our own key where there is none."""

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

_BELIEVED_S = 30.0  # a token is not asked about again for so long: a pod that is deleted keeps it for that time
_KEPT = 10_000
_ASKED_S = 5.0  # within which the API server has to say whom a token speaks for: whoever waits for it comes again
_POD = "authentication.kubernetes.io/pod-name"


class _SubjectCache:
    """Whom tokens speak for, as was found out not long ago; what was denied is not kept."""

    def __init__(self) -> None:
        """Know nothing."""
        self._found: OrderedDict[bytes, tuple[float, TokenSubject]] = OrderedDict()  # by the token's digest, oldest first

    def account(self, digest: bytes, now: float) -> TokenSubject | None:
        """Return whom the token of ``digest`` speaks for, if that is known ``now``."""
        while self._found and (next(iter(self._found.values()))[0] <= now or len(self._found) > _KEPT):
            self._found.popitem(last=False)
        found = self._found.get(digest)
        return found[1] if found and found[0] > now else None

    def keep(self, digest: bytes, until: float, account: TokenSubject) -> None:
        """Know ``until`` then that the token of ``digest`` speaks for ``account``."""
        self._found[digest] = (until, account)


class LocalTokens:
    """Tokens that are signed by us (``navarch token``): checked without asking anybody."""

    def __init__(self, key: EllipticCurvePublicKey, audience: str, clock: Callable[[], dt.datetime]) -> None:
        """Believe tokens by ``key`` for ``audience``."""
        self._key = key
        self._audience = audience
        self._clock = clock
        self._known = _SubjectCache()

    async def account(self, token: str) -> TokenSubject:
        """Return whom ``token`` speaks for; raises Denied."""
        digest, now = _digest(token), self._clock()
        if found := self._known.account(digest, now.timestamp()):
            return found
        try:
            said = verify_token(token, self._key, self._audience, now)
        except BadToken as error:
            raise Unauthenticated(str(error)) from error
        account = TokenSubject(said.namespace, said.name)
        self._known.keep(digest, min(now.timestamp() + _BELIEVED_S, said.expires_at), account)
        return account


class TokenReviews:
    """Service accounts' tokens, by the API server's TokenReview.

    https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/
    """

    def __init__(self, client: Client, audience: str, monotonic: Callable[[], float]) -> None:
        """Ask by ``client`` about tokens for ``audience``."""
        self._client = client
        self._audience = audience
        self._monotonic = monotonic
        self._known = _SubjectCache()

    async def account(self, token: str) -> TokenSubject:
        """Return whom ``token`` speaks for; raises Denied, and Undecided where the API server cannot be asked."""
        if len(token) > MAX_BYTES:
            raise Unauthenticated("the token is too long")
        digest, now = _digest(token), self._monotonic()
        if found := self._known.account(digest, now):
            return found
        body: Json = {
            "apiVersion": TOKEN_REVIEWS.api_version,
            "kind": TOKEN_REVIEWS.kind,
            "spec": {"token": token, "audiences": [self._audience]},
        }
        try:
            async with asyncio.timeout(_ASKED_S):
                answer = await self._client.create(TOKEN_REVIEWS.path(), body)
        except (KubernetesError, TimeoutError) as error:
            raise AuthenticationUnavailable(f"the API server cannot be asked: {type(error).__name__}") from error
        account = self._read(section(answer, "status"))
        self._known.keep(digest, now + _BELIEVED_S, account)
        return account

    def _read(self, status: Json) -> TokenSubject:
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
