"""Who is believed by a token: by our own key, and by the API server's review."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import time
from collections.abc import Awaitable, Callable

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca.tokens import AUDIENCE, sign_token
from controlplane.kube.errors import ApiServerUnreachable, StatusError
from controlplane.serve.authn import tokens
from controlplane.serve.authn.authenticators import AuthenticationUnavailable, TokenSubject, Unauthenticated
from controlplane.serve.authn.tokens import LocalTokens, TokenReviews
from controlplane.untyped import Json
from tests.support.waiting import within

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
GOOD = sign_token(KEY, ("shop", "cart"), AUDIENCE, NOW, HOUR)
CLAIMS: dict[str, object] = jwt.decode(GOOD, options={"verify_signature": False})


def signed(algorithm: str = "ES256", key: object = KEY, headers: dict[str, object] | None = None, **claims: object) -> str:
    found = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return jwt.encode(found, key, algorithm=algorithm, headers=headers)  # type: ignore[arg-type]


def raw(header: object, payload: object, signature: bytes = b"x") -> str:
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def with_payload(payload: object) -> str:
    """Return a token whose payload is no claims, but well signed."""
    from jwt.api_jws import encode

    return encode(json.dumps(payload).encode(), KEY, algorithm="ES256")


def hmac_with_public_key() -> str:
    import hashlib
    import hmac

    unsigned = raw({"alg": "HS256", "typ": "JWT"}, CLAIMS).rpartition(".")[0]
    digest = hmac.new(PUBLIC, unsigned.encode(), hashlib.sha256).digest()
    return f"{unsigned}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


BAD: dict[str, str] = {
    "empty": "",
    "garbage": "garbage",
    "a key id that is a number": raw({"alg": "ES256", "kid": 7}, CLAIMS),
    "two parts": "a.b",
    "four parts": f"{GOOD}.x",
    "dots": "..",
    "payload null": with_payload(None),
    "payload null of the advisory": ".bnVsbM.",
    "payload a list": with_payload([]),
    "payload a number": with_payload(1),
    "payload a text": with_payload("a"),
    "no algorithm": raw({"alg": "none"}, CLAIMS, b""),
    "no algorithm, spelt otherwise": raw({"alg": "nOnE"}, CLAIMS, b""),
    "the public key as a secret": hmac_with_public_key(),
    "another key": sign_token(OTHER, ("shop", "cart"), AUDIENCE, NOW, HOUR),
    "another audience": sign_token(KEY, ("shop", "cart"), "other", NOW, HOUR),
    "no audience": signed(aud=None),
    "another issuer": signed(iss="kubernetes"),
    "no issuer": signed(iss=None),
    "expired": sign_token(KEY, ("shop", "cart"), AUDIENCE, NOW - 2 * HOUR, HOUR),
    "not yet": sign_token(KEY, ("shop", "cart"), AUDIENCE, NOW + HOUR, HOUR),
    "no expiry": signed(exp=None),
    "expiry a text": signed(exp="never"),
    "expiry huge": signed(nbf=2**62, exp=2**63),
    "no subject": signed(sub=None),
    "subject a user": signed(sub="admin"),
    "subject with a part more": signed(sub="system:serviceaccount:a:b:c"),
    "subject with a part less": signed(sub="system:serviceaccount:a"),
    "signature cut": GOOD[:-4],
    "too long": GOOD + "x" * 20_000,
}


async def denied(subject: Callable[[str], Awaitable[TokenSubject]], text: str) -> bool:
    try:
        await subject(text)
    except Unauthenticated:
        return True
    return False


async def test_a_token_of_ours_says_who_its_bearer_is() -> None:
    own = LocalTokens(KEY.public_key(), AUDIENCE, lambda: NOW)

    assert await own.subject(GOOD) == TokenSubject("shop", "cart")


@pytest.mark.parametrize("bad", BAD)
async def test_t10_s27_tokens_that_are_not_believed(bad: str) -> None:
    assert await denied(LocalTokens(KEY.public_key(), AUDIENCE, lambda: NOW).subject, BAD[bad])


class Reviewing:
    """An API server that answers reviews."""

    def __init__(self, **status: object) -> None:
        self.status: dict[str, object] = status
        self.error: Exception | None = None
        self.silent = False
        self.asked: list[Json] = []

    async def create(self, path: str, body: Json, **query: str) -> Json:
        del query
        assert path == "/apis/authentication.k8s.io/v1/tokenreviews"
        self.asked.append(body)
        if self.error:
            raise self.error
        if self.silent:
            await asyncio.Event().wait()
        return {"status": self.status}


def reviewed(api: Reviewing, clock: Callable[[], float] = lambda: 0.0) -> TokenReviews:
    return TokenReviews(api, AUDIENCE, clock)  # type: ignore[arg-type]


USER = {"username": "system:serviceaccount:shop:cart", "extra": {"authentication.kubernetes.io/pod-name": ["cart-1"]}}


async def test_a_token_that_the_api_server_knows_says_account_and_pod() -> None:
    api = Reviewing(authenticated=True, audiences=[AUDIENCE], user=USER)

    assert await reviewed(api).subject("t") == TokenSubject("shop", "cart", "cart-1")
    assert api.asked[0]["spec"] == {"token": "t", "audiences": [AUDIENCE]}


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"authenticated": False, "audiences": [AUDIENCE], "user": USER},
        {"authenticated": "true", "audiences": [AUDIENCE], "user": USER},
        {"authenticated": True, "user": USER},
        {"authenticated": True, "audiences": [], "user": USER},
        {"authenticated": True, "audiences": ["https://kubernetes.default.svc"], "user": USER},
        {"authenticated": True, "audiences": AUDIENCE, "user": USER},
        {"authenticated": True, "audiences": [AUDIENCE], "user": {"username": "admin"}},
        {"authenticated": True, "audiences": [AUDIENCE], "user": {}},
        {"authenticated": True, "audiences": [AUDIENCE]},
    ],
)
async def test_t10_an_answer_that_does_not_say_it_is_for_us_is_none(status: dict[str, object]) -> None:
    assert await denied(reviewed(Reviewing(**status)).subject, "t")


@pytest.mark.parametrize(
    "error", [ApiServerUnreachable("no answer"), StatusError(500, "Internal", "x"), StatusError(401, "Unauthorized", "x")]
)
async def test_t14_an_api_server_that_cannot_be_asked_lets_nobody_in(error: Exception) -> None:
    api = Reviewing(authenticated=True, audiences=[AUDIENCE], user=USER)
    api.error = error

    with pytest.raises(AuthenticationUnavailable):
        await reviewed(api).subject("t")


async def test_t14_an_api_server_that_never_answers_lets_nobody_in_and_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_REVIEW_TIMEOUT_S", 0.1)
    api = Reviewing(authenticated=True, audiences=[AUDIENCE], user=USER)
    api.silent = True

    began = time.monotonic()
    with pytest.raises(AuthenticationUnavailable):
        await reviewed(api).subject("t")

    assert time.monotonic() - began < within(2)


async def test_t11_what_the_api_server_said_is_believed_for_half_a_minute_at_most() -> None:
    api, time = Reviewing(authenticated=True, audiences=[AUDIENCE], user=USER), [0.0]
    tokens = reviewed(api, lambda: time[0])
    for _ in range(3):
        await tokens.subject("t")
    assert len(api.asked) == 1
    api.status = {"authenticated": False}  # its pod has been deleted

    time[0] = 31.0

    assert await denied(tokens.subject, "t")
    assert await denied(tokens.subject, "t")
    assert len(api.asked) == 3  # a no is not kept
