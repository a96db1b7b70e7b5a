"""T45: what users make the control plane ask for: whom it asks at all, and what it takes for an answer."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import json
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca.certificates import authority, server_certificate
from controlplane.objects.security.jwks import UnusableKeys
from controlplane.sources.fetched.client import SystemResolver, Unreachable, is_own_address
from controlplane.sources.fetched.url_policy import Forbidden, UrlPolicy, parse_allowed
from controlplane.sources.jwks.fetch import JwksFetcher
from tests.support.fakes.issuer import DISCOVERY, KEYS, Issuer
from tests.support.fakes.names import Names

_BOMB = gzip.compress(b" " * (64 << 20))
LOCAL = ("127.0.0.0/8", "http://127.0.0.0/8")


def fetcher(*allow: str, names: Names | None = None, tls: ssl.SSLContext | None = None, patience_s: float = 5.0) -> JwksFetcher:
    guard = UrlPolicy(map(parse_allowed, allow), is_own_address)
    return JwksFetcher(guard, tls or ssl.create_default_context(), names or SystemResolver(), patience_s)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/keys",
        "https://127.0.0.1/keys",
        "https://127.1/keys",
        "https://2130706433/keys",
        "https://0x7f000001/keys",
        "https://0177.0.0.1/keys",
        "https://0/keys",
        "https://0.0.0.0/keys",
        "https://localhost/keys",
        "https://localhost./keys",
        "https://LOCALHOST/keys",
        "https://[::1]/keys",
        "https://[::]/keys",
        "https://[::ffff:127.0.0.1]/keys",
        "https://[::ffff:7f00:1]/keys",
        "https://[64:ff9b::7f00:1]/keys",
        "https://[fe80::1%25lo]/keys",
        "https://169.254.169.254/latest/meta-data/",
        "https://user:secret@keys.example/keys",
        "https://user@keys.example/keys",
        "file:///etc/passwd",
        "ftp://keys.example/keys",
        "https:///keys",
        "https://[::1/keys",
        "https://keys.example:99999/keys",
        "gopher://127.0.0.1:6379/_INFO",
    ],
)
async def test_t45_urls_that_lead_inside_are_not_asked(url: str) -> None:
    with pytest.raises((Forbidden, Unreachable)) as refusal:
        await fetcher()(url)

    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "answer",
    [["169.254.169.254"], ["127.0.0.1"], ["10.0.0.7"], ["::1"], ["fd00:ec2::254"], ["::ffff:127.0.0.1"], ["10.0.0.7", "127.0.0.1"]],
)
async def test_t45_names_that_lead_inside_are_not_asked(answer: list[str]) -> None:
    with pytest.raises(Forbidden, match=r"metadata\.google\.internal is at a .* address; the operator can allow such by --jwks-allow"):
        await fetcher(names=Names(answer))("https://metadata.google.internal/computeMetadata/v1/")


async def test_t45_a_name_is_looked_up_once_and_dialled_where_it_was_checked() -> None:
    # Given a name that leads to a harmless address when it is looked at, and inside ever after.
    issuer, names = Issuer(), Names(["127.0.0.9"], ["127.0.0.1"])
    async with issuer.published("127.0.0.1") as inside:
        port = int(inside.rpartition(":")[2])

        # When keys are fetched there, which only the harmless address is allowed for.
        with pytest.raises(Unreachable):
            await fetcher("http://127.0.0.9", names=names)(f"http://rebinding.example:{port}{KEYS}")
        with pytest.raises(Forbidden):
            await fetcher("http://127.0.0.9", names=names)(f"http://rebinding.example:{port}{KEYS}")

    # Then nobody inside was asked.
    assert (names.asked, issuer.asked) == (2, [])


async def test_the_keys_of_an_issuer_that_the_operator_allows_are_fetched() -> None:
    issuer = Issuer()
    async with issuer.published() as at:
        found = json.loads(await fetcher(*LOCAL)(at + KEYS))

    assert found == issuer.keys


async def test_keys_are_found_by_the_discovery_document_of_their_issuer_and_by_no_other() -> None:
    issuer = Issuer()
    async with issuer.published() as at:
        found = await fetcher(*LOCAL)(at + DISCOVERY)
        issuer.at = "https://other.example"
        with pytest.raises(UnusableKeys, match="found that of another"):
            await fetcher(*LOCAL)(at + DISCOVERY)

    assert json.loads(found)["keys"][0]["kid"] == "key-1"


async def test_t45_where_a_discovery_document_leads_is_checked_too() -> None:
    issuer = Issuer()

    async def elsewhere(request: web.Request) -> web.Response:
        return web.json_response({"issuer": issuer.at, "jwks_uri": "http://169.254.169.254/latest/meta-data/"})

    issuer.answers[DISCOVERY] = elsewhere
    async with issuer.published() as at:
        with pytest.raises(Forbidden, match="link-local address"):
            await fetcher(*LOCAL)(at + DISCOVERY)


async def test_t45_redirects_are_not_followed() -> None:
    issuer = Issuer()

    async def redirect(request: web.Request) -> web.Response:
        raise web.HTTPFound(f"{issuer.at}{KEYS}")

    issuer.answers["/old"] = redirect
    async with issuer.published() as at:
        with pytest.raises(Forbidden, match="redirect"):
            await fetcher(*LOCAL)(f"{at}/old")

    assert issuer.asked == ["/old"]


async def _endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(b" " * 65536)


async def _slow(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(b" ")
        await asyncio.sleep(0.02)


async def _bomb(request: web.Request) -> web.Response:
    return web.Response(body=_BOMB, headers={"Content-Encoding": "gzip"})


async def _silent(request: web.Request) -> web.Response:
    await asyncio.sleep(3600)
    return web.Response()


def _saying(text: str | bytes, status: int = 200) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=text if isinstance(text, bytes) else text.encode(), status=status)

    return answer


def _key(**more: object) -> str:
    return json.dumps({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", **more}]})


@pytest.mark.parametrize(
    ("answer", "fault", "words"),
    [
        (_endless, UnusableKeys, "at most 1048576 bytes"),
        (_slow, Unreachable, "no answer within"),
        (_silent, Unreachable, "no answer within"),
        (_bomb, UnusableKeys, "not compressed"),
        (_saying(_key(), 503), Unreachable, "status 503"),
        (_saying(_key(), 204), Unreachable, "status 204"),
        (_saying(""), UnusableKeys, "expected JSON"),
        (_saying("<html>"), UnusableKeys, "expected JSON"),
        (_saying(b"\xff\xfe"), UnusableKeys, "UTF-8"),
        (_saying("[" * 100_000), UnusableKeys, "expected JSON"),
        (_saying("null"), UnusableKeys, "a JSON object"),
        (_saying("[]"), UnusableKeys, "a JSON object"),
        (_saying('{"AccessKeyId": "A", "SecretAccessKey": "B"}'), UnusableKeys, "JSON Web Key Set"),
        (_saying('{"keys": []}'), UnusableKeys, "at least one key"),
        (_saying('{"keys": {"a": 1}}'), UnusableKeys, "JSON Web Key Set"),
        (_saying('{"keys": ["a"]}'), UnusableKeys, "a kty"),
        (_saying('{"keys": [{"kid": "1"}]}'), UnusableKeys, "a kty"),
        (_saying('{"keys": [], "keys": []}'), UnusableKeys, "expected JSON"),
        (_saying('{"keys": [{"kty": "RSA", "n": 1e999, "e": "AQAB"}]}'), UnusableKeys, "at least one key whose fields are texts"),
        (_saying(_key(d="AQAB")), UnusableKeys, "secret part 'd'"),
        (_saying(_key(p="AQAB")), UnusableKeys, "secret part 'p'"),
        (_saying('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'), UnusableKeys, "secret part 'k'"),
    ],
)
async def test_t45_an_answer_that_is_no_key_set_is_refused_and_not_shown(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]], fault: type[Exception], words: str
) -> None:
    issuer = Issuer()
    issuer.answers[KEYS] = answer
    async with issuer.published() as at:
        with pytest.raises(fault, match=words) as refusal:
            await fetcher(*LOCAL, patience_s=0.5 if answer in (_slow, _silent) else 5.0)(at + KEYS)

    assert "SecretAccessKey" not in str(refusal.value)


async def test_an_answer_is_waited_for_as_long_as_its_object_says() -> None:
    issuer = Issuer()
    issuer.answers[KEYS] = _silent
    async with issuer.published() as at:
        with pytest.raises(Unreachable, match=r"no answer within 0\.3 s"):
            await fetcher(*LOCAL, patience_s=60.0)(at + KEYS, 300)


async def test_of_keys_only_what_checks_signatures_is_kept_and_in_one_order() -> None:
    issuer, texts = Issuer(), (_key(kid="1", x5c=["MIIB"], note="hello"), json.dumps(dict(reversed(json.loads(_key(kid="1")).items()))))
    found = []
    async with issuer.published() as at:
        for text in texts:
            issuer.answers[KEYS] = _saying(text)
            found.append(await fetcher(*LOCAL)(at + KEYS))

    assert found[0] == found[1] == '{"keys":[{"kty":"RSA","kid":"1","n":"AQAB","e":"AQAB"}]}'


@pytest.mark.parametrize("odd", ['"n": 1e999', '"kid": "\\ud800"', '"kid": 7', '"alg": ["RS256"]', '"x": null'])
async def test_t46_a_key_that_would_have_envoy_refuse_the_whole_listener_is_left_out(odd: str) -> None:
    issuer, good = Issuer(), {"kty": "RSA", "kid": "1", "n": "AQAB", "e": "AQAB"}
    issuer.answers[KEYS] = _saying(f'{{"keys": [{{"kty": "RSA", {odd}}}, {json.dumps(good)}]}}')
    async with issuer.published() as at:
        found = await fetcher(*LOCAL)(at + KEYS)

    assert json.loads(found) == {"keys": [good]}


async def test_https_is_believed_by_name_and_authority(tmp_path: Path) -> None:
    # Given an issuer with a certificate for its name, by an authority of one's own.
    now, hour = dt.datetime.now(dt.UTC), dt.timedelta(hours=1)
    signer = authority("own", ec.generate_private_key(ec.SECP256R1()), now, hour)
    pair = server_certificate(signer, ("keys.example",), ec.generate_private_key(ec.SECP256R1()), now, hour)
    (tmp_path / "pair.pem").write_bytes(pair.certificate + pair.key)
    shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    shown.load_cert_chain(tmp_path / "pair.pem")
    known = ssl.create_default_context(cadata=signer.pem.decode())

    # When it is asked by those who know that authority and by those who do not, by its name and by another.
    async with Issuer().published(tls=shown) as at:
        port = at.rpartition(":")[2]
        local = Names(["127.0.0.1"])
        good = await fetcher("127.0.0.0/8", names=local, tls=known)(f"https://keys.example:{port}{KEYS}")
        for tls, name in ((None, "keys.example"), (known, "other.example")):
            with pytest.raises(Unreachable, match="certificate is not believed"):
                await fetcher("127.0.0.0/8", names=local, tls=tls)(f"https://{name}:{port}{KEYS}")
        with pytest.raises(Forbidden, match="in the clear"):
            await fetcher("127.0.0.0/8", "http://10.0.0.0/8", names=local)(f"http://keys.example:{port}{KEYS}")

    # Then only the first gets keys.
    assert "key-1" in good


async def test_who_does_not_answer_or_does_not_exist_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(Unreachable, match="no connection"):
            await fetcher(*LOCAL)(f"http://127.0.0.1:{port}/keys")

    async def unknown(host: str, port: int, family: socket.AddressFamily) -> list[tuple[socket.AddressFamily, str]]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(Unreachable, match="its host is not known"):
        await JwksFetcher(UrlPolicy((), is_own_address), ssl.create_default_context(), unknown)("https://nobody.example/keys")
