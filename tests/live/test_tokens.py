"""RequestAuthentications by what they do on a real Envoy: whose tokens are believed, where they are found, and what becomes of them."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

import jwt
import pytest
import pytest_asyncio
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.authorization import ALLOWED, DENIED, by, policy, to, when
from tests.support.fakes.issuer import KEYS, Issuer
from tests.support.jwt_requests import ISSUER, Json, bearer, believing, rule, status, until_status
from tests.support.policy_world import PolicyWorld, policy_world
from tests.support.processes import free_port
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNBELIEVED = 401
OTHER = Issuer("https://other.example")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PolicyWorld]:
    async with policy_world(tmp_path_factory.mktemp("tokens")) as started:
        yield started


def forged(payload: object, header: Json, signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in parts)


async def test_a_request_without_a_token_passes_and_one_with_a_good_one_too(world: PolicyWorld) -> None:
    await world.apply(believing(rule()))

    assert [await status(world, None), await status(world, ISSUER.token())] == [ALLOWED, ALLOWED]


_CLAIMS = {"iss": ISSUER.name, "sub": "somebody", "exp": 4102444800}
_BAD = {
    "no token at all": "hello",
    "two parts": "a.b",
    "nothing in it": "..",
    "null": "bnVsbA.bnVsbA.",
    "expired": ISSUER.token(exp=1_000_000_000),
    "not yet good": ISSUER.token(nbf=4102444800),
    "of an issuer that nobody named": Issuer("https://evil.example").token(),
    "signed by a key that is not the issuer's": Issuer(ISSUER.name).token(),
    "signed by nobody": forged(_CLAIMS, {"alg": "none", "typ": "JWT"}),
    "signed by nobody, with the key's name": forged(_CLAIMS, {"alg": "none", "kid": "key-1"}),
    "signed with the public key as a shared secret": jwt.api_jws.encode(
        json.dumps(_CLAIMS).encode(), base64.b64encode(ISSUER.jwks.encode()), "HS256", {"kid": "key-1"}
    ),
    "a number for the key's name": forged(_CLAIMS, {"alg": "ES256", "kid": 1}, b"x" * 64),
    "with a key of its own": jwt.encode(_CLAIMS, ec.generate_private_key(ec.SECP256R1()), "ES256", {"jku": "https://evil.example/keys"}),
    "changed after it was signed": ISSUER.token().rpartition(".")[0] + "." + ISSUER.token(sub="other").rpartition(".")[2],
}


async def test_a_bad_token_is_refused_whatever_is_wrong_with_it(world: PolicyWorld) -> None:
    await world.apply(believing(rule()))

    assert {name: await status(world, token) for name, token in _BAD.items()} == dict.fromkeys(_BAD, UNBELIEVED)


async def test_a_token_for_another_audience_is_refused(world: PolicyWorld) -> None:
    await world.apply(believing(rule(audiences=["web", "api"])))

    assert [await status(world, ISSUER.token(aud=each)) for each in ("web", "api", ["x", "api"])] == [ALLOWED] * 3
    assert {await status(world, ISSUER.token(aud="other")), await status(world, ISSUER.token())} <= {UNBELIEVED, DENIED}


async def test_tokens_of_several_issuers_are_each_believed_by_their_own_keys(world: PolicyWorld) -> None:
    await world.apply(f"{believing(rule(), rule(OTHER))}")
    mixed = Issuer(OTHER.name)
    mixed._key, mixed._number = ISSUER._key, ISSUER._number

    assert [await status(world, each.token()) for each in (ISSUER, OTHER, mixed)] == [ALLOWED, ALLOWED, UNBELIEVED]


async def test_issuers_of_several_objects_and_of_the_root_namespace_add_up(world: PolicyWorld) -> None:
    await world.apply(f"{believing(rule())}\n---\n{believing(rule(OTHER), name='others', namespace='istio-system')}")

    assert [await status(world, each.token()) for each in (ISSUER, OTHER, Issuer("https://evil.example"))] == [ALLOWED, ALLOWED, UNBELIEVED]


async def test_tokens_are_found_where_the_rule_says_and_nowhere_else(world: PolicyWorld) -> None:
    places = {"fromHeaders": [{"name": "x-token", "prefix": "Token "}], "fromParams": ["token"], "fromCookies": ["session"]}
    await world.apply(f"{believing(rule(**places))}\n---\n{policy('verified', by(requestPrincipals=['*']))}")
    token = ISSUER.token()

    assert await status(world, None, **{"x-token": f"Token {token}"}) == ALLOWED
    assert await status(world, None, f"/?token={token}") == ALLOWED
    assert await status(world, None, Cookie=f"a=b; session={token}") == ALLOWED
    assert await status(world, None, **{"x-token": "Token bad"}) == UNBELIEVED
    assert await status(world, None, "/?token=bad") == UNBELIEVED
    assert await status(world, None, Cookie="session=bad") == UNBELIEVED
    assert await status(world, token) == DENIED
    assert await status(world, None, f"/?access_token={token}") == DENIED


async def test_where_nothing_is_said_tokens_are_found_in_authorization_and_access_token(world: PolicyWorld) -> None:
    await world.apply(f"{believing(rule())}\n---\n{policy('verified', by(requestPrincipals=['*']))}")

    assert await status(world, ISSUER.token()) == ALLOWED
    assert await status(world, None, f"/?access_token={ISSUER.token()}") == ALLOWED
    assert await status(world, None) == DENIED


async def test_the_workload_gets_the_token_only_where_the_rule_says(world: PolicyWorld) -> None:
    await world.apply(believing(rule()))
    taken = (await world.ask(headers=bearer(ISSUER.token()))).seen
    await world.apply(believing(rule(forwardOriginalToken=True)))
    forwarded = (await world.ask(headers=bearer(ISSUER.token()))).seen

    assert "authorization" not in taken
    assert forwarded["authorization"].startswith("Bearer ")


async def test_claims_go_on_in_headers_that_nobody_else_can_set(world: PolicyWorld) -> None:
    out = {"outputPayloadToHeader": "x-payload", "outputClaimToHeaders": [{"header": "x-subject", "claim": "sub"}]}
    await world.apply(believing(rule(**out)))
    spoofed = {"x-payload": "eyJzdWIiOiJhZG1pbiJ9", "x-subject": "admin"}

    told = (await world.ask(headers={**bearer(ISSUER.token(sub="alice")), **spoofed})).seen
    untold = (await world.ask(headers=spoofed)).seen

    payload = told["x-payload"]
    assert json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"] == "alice"
    assert told["x-subject"] == "alice"
    assert "x-payload" not in untold
    assert "x-subject" not in untold


_WHO: dict[str, tuple[Json, Mapping[str, object], Mapping[str, object] | None]] = {  # a rule, claims that fit, claims that do not
    "a principal": (by(requestPrincipals=[f"{ISSUER.name}/alice"]), {"sub": "alice"}, {"sub": "bob"}),
    "principals of an issuer": (by(requestPrincipals=[f"{ISSUER.name}/*"]), {"sub": "alice"}, None),
    "principals that end so": (by(requestPrincipals=["*/alice"]), {"sub": "alice"}, {"sub": "malice"}),
    "not these principals": (by(notRequestPrincipals=[f"{ISSUER.name}/bob"]), {"sub": "alice"}, {"sub": "bob"}),
    "a claim": (when("request.auth.claims[group]", "admin"), {"group": "admin"}, {"group": "user"}),
    "a claim of several": (when("request.auth.claims[group]", "admin"), {"group": ["user", "admin"]}, {"group": ["user"]}),
    "a claim below another": (when("request.auth.claims[realm][role]", "dev*"), {"realm": {"role": "developer"}}, {"role": "developer"}),
    "a claim that is there": (when("request.auth.claims[group]", "*"), {"group": "any"}, {}),
    "not this claim": (when("request.auth.claims[group]", notValues=["user"]), {"group": "admin"}, {"group": "user"}),
    "the principal as a condition": (when("request.auth.principal", f"{ISSUER.name}/alice"), {"sub": "alice"}, {"sub": "bob"}),
    "the audience": (when("request.auth.audiences", "web"), {"aud": ["web", "api"]}, {"aud": "api"}),
    "the presenter": (when("request.auth.presenter", "app"), {"azp": "app"}, {"azp": "other"}),
}


@pytest.mark.parametrize("case", _WHO)
async def test_policies_judge_by_what_a_verified_token_says(world: PolicyWorld, case: str) -> None:
    wanted, fitting, other = _WHO[case]
    await world.apply(f"{believing(rule())}\n---\n{policy('one', wanted)}")

    found = [await status(world, ISSUER.token(**{"sub": "alice", **fitting}))]
    if other is not None:
        found.append(await status(world, ISSUER.token(**{"sub": "alice", **other})))
    found.append(await status(world, Issuer(ISSUER.name).token(**{"sub": "alice", **fitting})))

    assert found == [ALLOWED, *([DENIED] if other is not None else []), UNBELIEVED]


async def test_who_shows_no_token_fits_no_principal_and_no_claim_only_what_excludes_some(world: PolicyWorld) -> None:
    without = {}
    for case, (wanted, *_) in _WHO.items():
        await world.apply(f"{believing(rule())}\n---\n{policy('one', wanted)}")
        without[case] = await status(world, None)

    assert {case for case, found in without.items() if found == ALLOWED} == {"not these principals", "not this claim"}


async def test_requests_without_a_token_are_refused_by_the_denial_that_istio_documents(world: PolicyWorld) -> None:
    await world.apply(
        f"{believing(rule())}\n---\n{policy('tokens', {**by(notRequestPrincipals=['*']), **to(paths=['/api/*'])}, action='DENY')}"
    )

    assert [await status(world, None, "/api/x"), await status(world, None, "/"), await status(world, ISSUER.token(), "/api/x")] == [
        DENIED,
        ALLOWED,
        ALLOWED,
    ]


async def test_keys_by_uri_are_fetched_and_a_new_key_becomes_effective(world: PolicyWorld) -> None:
    issuer = Issuer("https://rotating.example")
    async with issuer.published(f"{world.network}.51") as at:
        await world.apply(believing(rule(issuer, jwksUri=at + KEYS)))
        old = issuer.token()
        await until_status(world, ALLOWED, old)

        issuer.rotate()

        await until_status(world, ALLOWED, issuer.token())
        await until_status(world, UNBELIEVED, old)


async def test_keys_are_found_by_the_issuer_s_own_document(world: PolicyWorld) -> None:
    issuer = Issuer()
    async with issuer.published(f"{world.network}.52") as at:
        issuer.name = at
        await world.apply(believing({"issuer": at}))

        await until_status(world, ALLOWED, issuer.token())
        assert await status(world, Issuer(at).token()) == UNBELIEVED


async def test_t46_while_nobody_gives_the_keys_every_token_is_refused_and_no_other_is_hurt(world: PolicyWorld) -> None:
    # Given an issuer that is down from the start, and one that is not.
    issuer, port = Issuer("https://down.example"), free_port(f"{world.network}.53")
    at = f"http://{world.network}.53:{port}"
    await world.apply(believing(rule(issuer, jwksUri=at + KEYS), rule(OTHER)))

    async def told() -> bool:
        return any("every token of this issuer is refused" in message for _, _, message in await world.problems())

    await until(told, "a Problem says so")

    # Then its tokens are refused, whoever signed them, and those of the other are not.
    found = [await status(world, token) for token in (issuer.token(), Issuer(issuer.name).token(), *_BAD.values())]
    assert found == [UNBELIEVED] * len(found)
    assert [await status(world, OTHER.token()), await status(world, None)] == [ALLOWED, ALLOWED]

    # When it is there, its tokens are believed; when it goes away again, they still are.
    async with issuer.published(f"{world.network}.53", port):
        await until_status(world, ALLOWED, issuer.token())
    asked = len(issuer.asked)

    async def gone() -> bool:
        return any("those fetched last are used" in message for _, _, message in await world.problems())

    await until(gone, "a Problem says that the last keys are used")
    assert await status(world, issuer.token()) == ALLOWED
    assert asked


async def test_t45_keys_are_not_fetched_where_the_operator_does_not_allow_it(world: PolicyWorld, tmp_path: Path) -> None:
    issuer = Issuer("https://inside.example")
    redirecting = Issuer()

    async def redirect(request: web.Request) -> web.Response:
        raise web.HTTPFound(f"{issuer.at}{KEYS}")

    redirecting.answers[KEYS] = redirect
    async with issuer.published("127.0.0.1") as inside, redirecting.published(f"{world.network}.54") as outside:
        for uri, why in ((inside + KEYS, "loopback address"), (outside + KEYS, "redirect")):
            await world.apply(believing(rule(issuer, jwksUri=uri)))
            await until(partial(_told, world, why), "a Problem says why")
            assert await status(world, issuer.token()) == UNBELIEVED

    assert issuer.asked == []


async def _told(world: PolicyWorld, why: str) -> bool:
    return any(why in message for _, _, message in await world.problems())
