"""Tokens of the file mode: signed statements that somebody is a service account, of the same shape as those of Kubernetes. Pure.

https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from jwt.types import Options

from controlplane.errors import PeerError
from controlplane.untyped import section, text

AUDIENCE = "istio-ca"
ISSUER = "navarch"
MAX_BYTES = 16 << 10
_KUBERNETES = "kubernetes.io"  # the claim that says more than the standard's
_SUBJECT = "system:serviceaccount:"
_LEEWAY = dt.timedelta(seconds=10)


class BadToken(PeerError):
    """A token that says nothing that is believed; the text is for our log, never for whoever sent it."""


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a token says: which service account its bearer is, until when (Unix time), and which pod, where it is bound to one."""

    namespace: str
    name: str
    expires_at: float
    pod: str = ""


def sign_token(
    key: EllipticCurvePrivateKey, account: tuple[str, str], audience: str, now: dt.datetime, lifetime: dt.timedelta, pod: str = ""
) -> str:
    """Return a token that its bearer is ``account`` (namespace, name), for ``audience``, from ``now`` for ``lifetime``.

    With ``pod``, it is bound to that pod.
    """
    namespace, name = account
    claims = {
        "iss": ISSUER,
        "sub": f"{_SUBJECT}{namespace}:{name}",
        "aud": [audience],
        "iat": int(now.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
        _KUBERNETES: {"namespace": namespace, "serviceaccount": {"name": name}, **({"pod": {"name": pod}} if pod else {})},
    }
    return jwt.encode(claims, key, algorithm="ES256")


def verify_token(token: str, key: EllipticCurvePublicKey, audience: str, now: dt.datetime) -> TokenClaims:
    """Return what ``token``, signed by ``key`` for ``audience``, says ``now``; raises BadToken."""
    if len(token) > MAX_BYTES:
        raise BadToken("the token is too long")
    required = ["iss", "sub", "aud", "iat", "nbf", "exp"]
    checks: Options = {"require": required, "verify_exp": False, "verify_nbf": False, "verify_iat": False}  # by our own clock
    try:
        claims = jwt.decode(token, key, algorithms=["ES256"], audience=audience, issuer=ISSUER, options=checks)
    except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError) as error:
        raise BadToken(f"{type(error).__name__}: {error}") from error
    begins, ends, subject = claims["nbf"], claims["exp"], claims["sub"]
    if not isinstance(begins, int) or not isinstance(ends, int) or not isinstance(subject, str):
        raise BadToken("a claim is of another type")
    if not begins - _LEEWAY.total_seconds() <= now.timestamp() < ends:
        raise BadToken("the token has expired or is not valid yet")
    return TokenClaims(*service_account_of(subject), expires_at=ends, pod=text(section(section(claims, _KUBERNETES), "pod"), "name"))


def service_account_of(user: str) -> tuple[str, str]:
    """Return the namespace and name of the service account whose user name is ``user``; raises BadToken where it is none."""
    namespace, colon, name = user.removeprefix(_SUBJECT).partition(":")
    if not user.startswith(_SUBJECT) or not colon or not namespace or not name or ":" in name:
        raise BadToken("the bearer is no service account")
    return namespace, name
