"""Credentials that Gateways name, where files give them: who gets them, what happens when they rotate or are bad."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
import yaml
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse

from controlplane.envoy.type_urls import SDS
from tests.support.control_plane import DeltaCall, delta, next_delta
from tests.support.secure_control_plane import Secure, asking, node, secure, stream
from tests.support.tls_secrets import gateway, pair, secret
from tests.support.waiting import DEADLINE_S, at_most, until

NAME = "kubernetes://shop"


def write(folder: Path, *documents: dict[str, object]) -> None:
    """Have ``documents`` in ``folder``, and nothing else."""
    draft = folder.parent / "draft"
    draft.write_text(yaml.safe_dump_all(documents))
    draft.rename(folder / "all.yaml")


@pytest_asyncio.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Secure]:
    folder = tmp_path / "manifests"
    folder.mkdir()
    write(folder, gateway(), secret(pair()))
    async with secure(folder) as found:
        yield found


class Proxy:
    """A stream for secrets that accepts all it is sent."""

    def __init__(self, call: DeltaCall) -> None:
        self._call = call

    async def next(self, within_s: float = DEADLINE_S) -> DeltaDiscoveryResponse:
        """Return the next response, accepted."""
        answer = await next_delta(self._call, within_s)
        await self._call.write(asking(SDS, nonce=answer.nonce))
        return answer

    async def ask(self, *names: str, who: dict[str, object] | None = None) -> tuple[dict[str, Secret], list[str]]:
        """Return which secrets the answer for ``names`` has, and which names it says are not there; within a second."""
        await self._call.write(asking(SDS, who, *names))
        found: dict[str, Secret] = {}
        gone: list[str] = []
        while len(found) + len(gone) < len(names):
            answer = await self.next(1.0)
            found |= {each.name: Secret.FromString(each.resource.value) for each in answer.resources}
            gone += answer.removed_resources
        return found, gone


@contextlib.asynccontextmanager
async def proxy(plane: Secure, namespace: str = "edge", account: str = "front") -> AsyncIterator[Proxy]:
    """Open a stream of a proxy of the account, that has introduced itself."""
    assert plane.running.at.xds_tls
    token = plane.token(namespace, account)
    async with stream(plane.running.at.xds_tls, grpc.ssl_channel_credentials(plane.roots), token=token) as call:
        found = Proxy(call)
        await found.ask("ROOTCA", who=node(namespace, account))
        yield found


def folder_of(plane: Secure) -> Path:
    return plane.state.parent / "manifests"


async def problems(plane: Secure) -> list[str]:
    found = await plane.running.json("/v1/problems")
    assert isinstance(found, list)
    return [f"{each['object']} {each['field']}: {each['message']}" for each in found if each["code"] == "BadCredential"]


async def test_a_proxy_of_the_namespace_gets_what_a_gateway_names(plane: Secure) -> None:
    own = pair()
    write(folder_of(plane), gateway(mode="MUTUAL"), secret(own, **{"ca.crt": own.certificate.decode()}))

    async def has_it() -> bool:
        async with proxy(plane) as call:
            found, gone = await call.ask(NAME, f"{NAME}-cacert")
            return (
                not gone
                and found[NAME].tls_certificate.private_key.inline_bytes == own.key
                and found[f"{NAME}-cacert"].validation_context.trusted_ca.inline_bytes == own.certificate
            )

    await until(has_it)
    assert await problems(plane) == []


async def test_t22_a_proxy_of_another_namespace_never_does_in_whatever_order_they_come(plane: Secure) -> None:
    names = (NAME, "kubernetes-gateway://edge/shop", f"{NAME}-cacert")
    for first, second in (("other", "edge"), ("edge", "other")):
        async with proxy(plane, first) as one, proxy(plane, second) as two:
            answers = {namespace: await call.ask(*names) for namespace, call in ((first, one), (second, two))}

        assert set(answers["edge"][0]) == {NAME}
        assert answers["other"][0] == {}
        assert sorted(answers["other"][1]) == sorted(names)


async def test_nothing_is_given_that_no_object_refers_to(plane: Secure) -> None:
    write(folder_of(plane), gateway(), secret(pair()), secret(pair(), "database"))
    async with proxy(plane) as call:
        assert await call.ask("kubernetes://database") == ({}, ["kubernetes://database"])


async def test_in_the_clear_nobody_gets_a_credential(plane: Secure) -> None:
    async with delta(plane.running.at.xds) as call:
        await call.write(asking(SDS, node("edge", "front"), NAME))
        answer = await next_delta(call, at_most(1.0))

    assert (list(answer.resources), list(answer.removed_resources)) == ([], [NAME])


async def test_a_rotation_pushes_the_secret_alone(plane: Secure) -> None:
    after = pair()
    async with proxy(plane) as call:
        await call.ask(NAME)
        write(folder_of(plane), gateway(), secret(after))

        answer = await call.next()

    [pushed] = answer.resources
    assert (pushed.name, list(answer.removed_resources)) == (NAME, [])
    assert Secret.FromString(pushed.resource.value).tls_certificate.private_key.inline_bytes == after.key


def spoiled(how: str) -> dict[str, object]:
    good = pair()
    match how:
        case "no certificate":
            return secret(good, **{"tls.crt": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"})
        case "another key":
            return secret(good, **{"tls.key": pair().key.decode()})
        case "expired":
            return secret(pair(at=dt.datetime.now(dt.UTC) - dt.timedelta(days=3)))
        case _:
            return secret(good, "elsewhere")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("no certificate", "expected certificates in PEM"),
        ("another key", "the key is not that of the certificate"),
        ("expired", "the certificate has expired"),
        ("missing", "there is no Secret shop there"),
    ],
)
async def test_a_bad_one_is_a_problem_of_the_gateway_and_is_answered_at_once(tmp_path: Path, how: str, words: str) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    write(folder, gateway(), spoiled(how))
    async with secure(folder) as plane, proxy(plane) as call:
        assert await call.ask(NAME) == ({}, [NAME])

        async def told() -> bool:
            found = await problems(plane)
            return len(found) == 1 and words in found[0] and "spec.servers[0].tls.credentialName" in found[0]

        await until(told)
        good = pair()
        write(folder, gateway(), secret(good))
        answer = await call.next()
        assert Secret.FromString(answer.resources[0].resource.value).tls_certificate.private_key.inline_bytes == good.key

        async def mended() -> bool:
            return await problems(plane) == []

        await until(mended)


async def test_one_that_becomes_bad_leaves_the_good_one_where_it_is(plane: Secure) -> None:
    async with proxy(plane) as call:
        found, _ = await call.ask(NAME)
        write(folder_of(plane), gateway(), spoiled("another key"))

        async def told() -> bool:
            return len(await problems(plane)) == 1

        await until(told)
        again, gone = await call.ask(NAME)

    assert (again, gone) == (found, [])


async def test_s46_no_key_is_shown_by_the_admin_api_or_the_log(plane: Secure, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    own = pair("canary.example.com")
    write(folder_of(plane), gateway(), secret(own))
    line = own.key.decode().splitlines()[1]
    async with proxy(plane) as call:
        await call.ask(NAME)
        [row] = json.loads((await plane.running.get("/v1/proxies"))[1])
        paths = ["/v1/objects", "/v1/problems", "/v1/identity", "/metrics", "/v1/proxies", f"/v1/proxies/{row['id']}/config/secrets"]
        shown = [(await plane.running.get(path))[1] for path in paths]

    assert [line in each or "PRIVATE KEY" in each for each in shown] == [False] * len(paths)
    assert "Secret" not in shown[0]
    assert line not in "".join(f"{each.getMessage()} {vars(each)}" for each in caplog.records)
