"""Objects that are broken by an edit of a file: what comes of requests before it, after it, and once everything was started anew.

The last two are equal, nothing is more open than before, and the next namespace notices nothing. ``tests/kube/test_verdicts.py`` has the
same on an API server with two replicas.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import httpx
import pytest
import pytest_asyncio

from tests.support.authorization import ALLOWED, CLOSED, DENIED, Json, by, policy, to
from tests.support.fakes.issuer import Issuer
from tests.support.jwt_requests import ISSUER, bearer, believing, rule
from tests.support.manifests import document
from tests.support.mesh_clients import FRIEND, HTTP
from tests.support.policy_world import PolicyWorld, policy_world
from tests.support.waiting import DEADLINE_S, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNBELIEVED, UNAVAILABLE = 401, 503
_NEXT = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: next, namespace: next}}
spec: {{address: {network}.13, labels: {{app: web, security.istio.io/tlsMode: istio}}, serviceAccount: next}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: next, namespace: next}}
spec:
  ingress:
  - {{port: {{number: 9080, protocol: HTTP, name: http}}, bind: {network}.13, captureMode: NONE, defaultEndpoint: 0.0.0.0:8000}}
"""
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Verdicts(NamedTuple):
    """What comes of each: a status, ``CLOSED`` for a connection that was closed instead, ``ALLOWED`` for bytes that came back."""

    friend: int = ALLOWED
    plaintext: int = ALLOWED
    vault: int = ALLOWED
    token: int = ALLOWED
    bad_token: int = ALLOWED
    bytes: int = ALLOWED
    neighbour: int = ALLOWED
    routed: int = ALLOWED  # from another workload, by the rules of a VirtualService


class Edit(NamedTuple):
    """What stands in the file first, what is made of it, and what comes of requests by either; ``code`` is the Problem's."""

    good: str
    broken: str
    before: Verdicts
    after: Verdicts
    code: str = "Closed"


def strict(**spec: object) -> str:
    metadata = {"name": "one", "namespace": "shop"}
    return json.dumps({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": metadata, "spec": spec})


def leading_to(host: str) -> str:
    route = {"destination": {"host": host, "port": {"number": HTTP}}}
    return document("VirtualService", "one", "shop", hosts=["web"], http=[{"route": [route]}])


def dry(text: str) -> str:
    document = json.loads(text)
    document["metadata"]["annotations"] = {"istio.io/dry-run": "true"}
    return json.dumps(document)


_VAULT: Json = to(paths=["/vault"])
_BROKEN: Json = {**_VAULT, **by(ipBlocks=["127.0.0.0/88"])}
_TO_FRIENDS: Json = by(principals=["cluster.local/ns/shop/sa/friend"])
_WEB: Json = {"matchLabels": {"app": "web"}}
_MISTYPED: Json = {"matchLabels": {"app": ["web"]}}
_WITH_TOKENS = policy("two", by(requestPrincipals=["*"]))
_NOTHING = Verdicts(DENIED, DENIED, DENIED, DENIED, DENIED, CLOSED, routed=DENIED)
_MUTUAL = Verdicts(plaintext=CLOSED)
_EDITS = {
    "a host": Edit(leading_to("web"), leading_to("wbe"), Verdicts(), Verdicts(routed=UNAVAILABLE), "UnknownHost"),
    "DENY": Edit(
        policy("one", _VAULT, action="DENY", selector=_WEB),
        policy("one", _BROKEN, action="DENY", selector=_WEB),
        Verdicts(vault=DENIED, bytes=CLOSED),
        _NOTHING,
    ),
    "DENY, whose selector is broken too": Edit(
        policy("one", _VAULT, action="DENY", selector=_WEB),
        policy("one", _VAULT, action="DENY", selector=_MISTYPED),
        Verdicts(vault=DENIED, bytes=CLOSED),
        _NOTHING,
    ),
    "ALLOW": Edit(
        policy("one", _TO_FRIENDS),
        policy("one", _TO_FRIENDS, {"from": [{"source": {}}]}),
        Verdicts(plaintext=DENIED, routed=DENIED),
        _NOTHING,
    ),
    "AUDIT": Edit(policy("one", _VAULT, action="AUDIT"), policy("one", _BROKEN, action="AUDIT"), Verdicts(), Verdicts(), "NotInEffect"),
    "dry run": Edit(
        dry(policy("one", _VAULT, action="DENY")), dry(policy("one", _BROKEN, action="DENY")), Verdicts(), Verdicts(), "NotInEffect"
    ),
    "tokens": Edit(
        believing(rule()),
        believing(rule(outputPayloadToHeader=":path")),
        Verdicts(bad_token=UNBELIEVED),
        Verdicts(token=UNBELIEVED, bad_token=UNBELIEVED),
    ),
    "tokens that a policy asks for": Edit(
        f"{_WITH_TOKENS}\n---\n{believing(rule())}",
        f"{_WITH_TOKENS}\n---\n{believing('somebody')}",  # type: ignore[arg-type]  # which is the mistake
        Verdicts(DENIED, DENIED, DENIED, ALLOWED, UNBELIEVED, CLOSED, routed=DENIED),
        Verdicts(DENIED, DENIED, DENIED, UNBELIEVED, UNBELIEVED, CLOSED, routed=DENIED),
    ),
    "STRICT": Edit(strict(mtls={"mode": "STRICT"}), strict(mtls={"mode": "STRICTT"}), _MUTUAL, _MUTUAL),
    "STRICT but for a port": Edit(
        strict(selector=_WEB, mtls={"mode": "STRICT"}, portLevelMtls={"9080": {"mode": "PERMISSIVE"}}),
        strict(selector=_WEB, mtls={"mode": "STRICT"}, portLevelMtls={"9080": {"mode": "PERMISSIVE"}, "http": {"mode": "DISABLE"}}),
        Verdicts(),
        _MUTUAL,
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PolicyWorld]:
    async with policy_world(tmp_path_factory.mktemp("closed"), "--hold-unknown", "1") as started:
        await started.mesh(_NEXT.format(network=started.network))
        async with await asyncio.start_server(_answer, f"{started.network}.13", 8000):
            await started.sidecar("next", "next", 13)

            async def served() -> bool:
                return await _neighbour(started) == ALLOWED

            await until(served, "the neighbour is served", watched=started.envoys["next"])
            yield started


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(_ANSWER)
    writer.close()


async def _neighbour(world: PolicyWorld) -> int:
    async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
        try:
            return (await client.get(f"http://{world.network}.13:{HTTP}/vault", headers=bearer(ISSUER.token()))).status_code
        except httpx.TransportError:
            return CLOSED


async def _verdicts(world: PolicyWorld) -> Verdicts:
    return Verdicts(
        friend=(await world.ask()).status,
        plaintext=(await world.ask(who=None)).status,
        vault=(await world.ask("/vault")).status,
        token=(await world.ask(headers=bearer(ISSUER.token()))).status,
        bad_token=(await world.ask(headers=bearer(Issuer(ISSUER.name).token()))).status,
        bytes=ALLOWED if await world.talk(b"hello", who=FRIEND) == b"hello" else CLOSED,
        neighbour=await _neighbour(world),
        routed=await world.through_own_envoy(),
    )


async def _verdicts_once(world: PolicyWorld, wanted: Verdicts) -> Verdicts:
    """Return what comes of each request: as soon as that is ``wanted``, as Envoy's worker may be later than its main thread says."""
    found: list[Verdicts] = []

    async def as_wanted() -> bool:
        found[:] = [await _verdicts(world)]
        return found == [wanted]

    with contextlib.suppress(TimeoutError):
        await until(as_wanted, deadline_s=DEADLINE_S / 4)
    return found[0]


async def _broken(world: PolicyWorld) -> list[str]:
    """Return the objects that are broken, and the codes of their Problems."""
    rows = await world.plane.get("/v1/problems")
    return [f"{row['object']} {row['code']}" for row in rows if row["severity"] == "error" or row["code"] == "UnknownHost"]


def _more_open(now: Sequence[int], before: Sequence[int]) -> list[int]:
    return [place for place, (verdict, known) in enumerate(zip(now, before, strict=True)) if verdict == ALLOWED != known]


@pytest.mark.parametrize("case", _EDITS)
async def test_a_broken_edit_opens_nothing_and_means_the_same_after_a_restart(world: PolicyWorld, case: str) -> None:
    edit = _EDITS[case]
    await world.apply(edit.good)
    before = await _verdicts_once(world, edit.before)
    await world.apply(edit.broken)
    edited = await _verdicts_once(world, edit.after)
    told = await _broken(world)
    await world.begin_anew()
    restarted = await _verdicts_once(world, edit.after)
    told_anew = await _broken(world)

    print(f"{case}: before {tuple(before)}, edited {tuple(edited)}, restarted {tuple(restarted)}; {', '.join(told)}")
    assert (before, edited, restarted) == (edit.before, edit.after, edit.after)
    assert _more_open(edited, before) == []
    assert any(code.endswith(f" {edit.code}") for code in told)
    assert told == told_anew


async def test_a_policy_broken_in_the_next_namespace_changes_nothing_here(world: PolicyWorld) -> None:
    await world.apply()
    before = await _verdicts_once(world, Verdicts())
    await world.apply(policy("one", _VAULT, action="DENY", namespace="next", selector=_MISTYPED))
    wanted = Verdicts(neighbour=DENIED)

    assert (before, await _verdicts_once(world, wanted)) == (Verdicts(), wanted)
