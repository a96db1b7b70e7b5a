"""AuthorizationPolicies by what they do: real Envoys, connections of many identities and addresses, and who is let in."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

import pytest
import pytest_asyncio

from controlplane.model.identity import Identity
from tests.support.authorization import ALLOWED, DENIED, Json, by, policy, to, when
from tests.support.mesh_clients import FRIEND, STRANGER
from tests.support.policy_world import OTHER_HTTP, PolicyWorld, policy_world
from tests.support.waiting import DEADLINE_S, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMESAKE = Identity("cluster.local", "shop-b", "friend")
PLAIN = None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PolicyWorld]:
    async with policy_world(tmp_path_factory.mktemp("judged")) as started:
        yield started


class Ask(NamedTuple):
    """A request, and what is to become of it."""

    status: int
    path: str = "/"
    who: Identity | None = FRIEND
    method: str = "GET"
    headers: Mapping[str, str] = {}
    host: str = "web.shop"
    port: int = 9080
    source: int = 31


_PRINCIPAL = "cluster.local/ns/shop/sa/friend"
_BY_SOURCE: dict[str, tuple[Json, Sequence[Ask]]] = {
    "principals": (
        by(principals=[_PRINCIPAL]),
        [Ask(ALLOWED), Ask(DENIED, who=STRANGER), Ask(DENIED, who=NAMESAKE), Ask(DENIED, who=PLAIN)],
    ),
    "principals that begin so": (by(principals=["cluster.local/ns/shop/*"]), [Ask(ALLOWED), Ask(DENIED, who=NAMESAKE)]),
    "principals that end so": (by(principals=["*/sa/friend"]), [Ask(ALLOWED), Ask(ALLOWED, who=NAMESAKE), Ask(DENIED, who=STRANGER)]),
    "any principal": (by(principals=["*"]), [Ask(ALLOWED), Ask(ALLOWED, who=STRANGER), Ask(DENIED, who=PLAIN)]),
    "not these principals": (by(notPrincipals=[_PRINCIPAL]), [Ask(DENIED), Ask(ALLOWED, who=STRANGER), Ask(DENIED, who=PLAIN)]),
    "namespaces": (by(namespaces=["shop"]), [Ask(ALLOWED), Ask(DENIED, who=STRANGER), Ask(DENIED, who=NAMESAKE), Ask(DENIED, who=PLAIN)]),
    "not these namespaces": (
        by(notNamespaces=["shop"]),
        [Ask(DENIED), Ask(ALLOWED, who=STRANGER), Ask(ALLOWED, who=NAMESAKE), Ask(DENIED, who=PLAIN)],
    ),
    "service accounts": (by(serviceAccounts=["friend"]), [Ask(ALLOWED), Ask(DENIED, who=NAMESAKE), Ask(DENIED, who=STRANGER)]),
    "service accounts of a namespace": (by(serviceAccounts=["elsewhere/stranger"]), [Ask(ALLOWED, who=STRANGER), Ask(DENIED)]),
    "not these service accounts": (by(notServiceAccounts=["friend"]), [Ask(DENIED), Ask(ALLOWED, who=STRANGER), Ask(DENIED, who=PLAIN)]),
    "addresses": (by(ipBlocks=["{net}.31"]), [Ask(ALLOWED), Ask(DENIED, source=32)]),
    "blocks of addresses": (by(ipBlocks=["{net}.32/28"]), [Ask(DENIED), Ask(ALLOWED, source=33), Ask(DENIED, source=48)]),
    "not these addresses": (by(notIpBlocks=["{net}.31"]), [Ask(DENIED), Ask(ALLOWED, source=32)]),
    "remote addresses": (
        by(remoteIpBlocks=["203.0.113.0/24"]),
        [Ask(ALLOWED, headers={"x-forwarded-for": "203.0.113.9"}), Ask(DENIED), Ask(DENIED, headers={"x-forwarded-for": "198.51.100.1"})],
    ),
    "not these remote addresses": (
        by(notRemoteIpBlocks=["203.0.113.0/24"]),
        [Ask(DENIED, headers={"x-forwarded-for": "203.0.113.9"}), Ask(ALLOWED)],
    ),
    "both of two": (by(namespaces=["shop"], ipBlocks=["{net}.31"]), [Ask(ALLOWED), Ask(DENIED, source=32), Ask(DENIED, who=STRANGER)]),
}
_BY_OPERATION: dict[str, tuple[Json, Sequence[Ask]]] = {
    "paths": (to(paths=["/info"]), [Ask(ALLOWED, "/info"), Ask(ALLOWED, "/info?q=1"), Ask(DENIED, "/"), Ask(DENIED, "/info/more")]),
    "paths that begin so": (to(paths=["/api/*"]), [Ask(ALLOWED, "/api/a/b"), Ask(DENIED, "/apix"), Ask(DENIED, "/api/../admin")]),
    "paths that end so": (to(paths=["*.png"]), [Ask(ALLOWED, "/a/b.png"), Ask(DENIED, "/a.jpg")]),
    "paths by template": (
        to(paths=["/users/{*}/posts/{**}"]),
        [Ask(ALLOWED, "/users/7/posts/1/2"), Ask(DENIED, "/users/7/8/posts/1"), Ask(DENIED, "/users/7/albums/1")],
    ),
    "not these paths": (
        to(notPaths=["/admin*"]),
        [Ask(ALLOWED, "/"), Ask(DENIED, "/admin"), Ask(DENIED, "/x/../admin"), Ask(ALLOWED, "//admin")],
    ),
    "methods": (to(methods=["GET", "HEAD"]), [Ask(ALLOWED), Ask(DENIED, method="POST")]),
    "not these methods": (to(notMethods=["DELETE"]), [Ask(ALLOWED), Ask(DENIED, method="DELETE")]),
    "hosts": (to(hosts=["a.example"]), [Ask(ALLOWED, host="a.example"), Ask(ALLOWED, host="A.Example"), Ask(DENIED, host="b.example")]),
    "hosts below one": (to(hosts=["*.example"]), [Ask(ALLOWED, host="a.example"), Ask(DENIED, host="a.example.evil")]),
    "not these hosts": (
        to(notHosts=["a.example"]),
        [Ask(DENIED, host="a.example"), Ask(DENIED, host="A.EXAMPLE"), Ask(ALLOWED, host="b.example")],
    ),
    "ports": (to(ports=["9080"]), [Ask(ALLOWED), Ask(DENIED, port=OTHER_HTTP)]),
    "not these ports": (to(notPorts=["9080"]), [Ask(DENIED), Ask(ALLOWED, port=OTHER_HTTP)]),
    "one of several operations": (
        {"to": [{"operation": {"paths": ["/a"]}}, {"operation": {"methods": ["POST"]}}]},
        [Ask(ALLOWED, "/a"), Ask(ALLOWED, "/b", method="POST"), Ask(DENIED, "/b")],
    ),
}
_BY_CONDITION: dict[str, tuple[Json, Sequence[Ask]]] = {
    "a header": (
        when("request.headers[x-id]", "7", "8"),
        [Ask(ALLOWED, headers={"X-Id": "7"}), Ask(DENIED, headers={"x-id": "9"}), Ask(DENIED)],
    ),
    "a header that begins so": (
        when("request.headers[x-id]", "a*"),
        [Ask(ALLOWED, headers={"x-id": "ab"}), Ask(DENIED, headers={"x-id": "ba"})],
    ),
    "any value of a header": (when("request.headers[x-id]", "*"), [Ask(ALLOWED, headers={"x-id": "a"}), Ask(DENIED)]),
    "not this value of a header": (when("request.headers[x-id]", notValues=["7"]), [Ask(DENIED, headers={"x-id": "7"}), Ask(ALLOWED)]),
    "the address": (when("source.ip", "{net}.31"), [Ask(ALLOWED), Ask(DENIED, source=32)]),
    "the remote address": (when("remote.ip", "203.0.113.9"), [Ask(ALLOWED, headers={"x-forwarded-for": "203.0.113.9"}), Ask(DENIED)]),
    "the namespace": (when("source.namespace", "shop"), [Ask(ALLOWED), Ask(DENIED, who=STRANGER), Ask(DENIED, who=PLAIN)]),
    "the trust domain": (when("source.trustDomain", "cluster.local"), [Ask(ALLOWED), Ask(DENIED, who=PLAIN)]),
    "another trust domain": (when("source.trustDomain", "other.local"), [Ask(DENIED)]),
    "the server name": (when("connection.sni", "web"), [Ask(ALLOWED), Ask(DENIED, who=PLAIN)]),
    "the principal": (when("source.principal", _PRINCIPAL), [Ask(ALLOWED), Ask(DENIED, who=STRANGER)]),
    "the service account": (when("source.serviceAccount", "shop/friend"), [Ask(ALLOWED), Ask(DENIED, who=STRANGER)]),
    "the destination's address": (when("destination.ip", "{net}.11"), [Ask(ALLOWED)]),
    "another destination's address": (when("destination.ip", "{net}.12"), [Ask(DENIED)]),
    "the destination's port": (when("destination.port", "9081"), [Ask(ALLOWED, port=OTHER_HTTP), Ask(DENIED)]),
    "all of several": (
        {**by(namespaces=["shop"]), **to(methods=["GET"]), **when("request.headers[x-id]", "7")},
        [
            Ask(ALLOWED, headers={"x-id": "7"}),
            Ask(DENIED),
            Ask(DENIED, who=STRANGER, headers={"x-id": "7"}),
            Ask(DENIED, method="PUT", headers={"x-id": "7"}),
        ],
    ),
}
_CASES = {**_BY_SOURCE, **_BY_OPERATION, **_BY_CONDITION}


async def statuses(world: PolicyWorld, asks: Sequence[Ask], wanted: Sequence[int] = ()) -> list[int]:
    """Return what becomes of ``asks``: as soon as that is ``wanted``, as Envoy's worker may be later than its main thread says."""
    wanted, found = list(wanted or (each.status for each in asks)), await _statuses(world, asks)
    deadline = time.monotonic() + DEADLINE_S
    while found != wanted and time.monotonic() < deadline:
        found = await _statuses(world, asks)
    return found


async def _statuses(world: PolicyWorld, asks: Sequence[Ask]) -> list[int]:
    found = []
    for each in asks:
        answer = await world.ask(
            each.path, who=each.who, method=each.method, headers=each.headers, host=each.host, port=each.port, source=each.source
        )
        found.append(answer.status)
    return found


def _in(world: PolicyWorld, rule: Json) -> Json:
    found: Json = json.loads(json.dumps(rule).replace("{net}", world.network))
    return found


@pytest.mark.parametrize("case", _CASES)
async def test_allow_lets_in_who_fits_and_nobody_else(world: PolicyWorld, case: str) -> None:
    rule, asks = _CASES[case]
    await world.apply(policy("one", _in(world, rule)))

    assert await statuses(world, asks) == [each.status for each in asks]


# What plaintext is to a denial differs: who has shown nothing fits no identity, and everything that excludes identities.
@pytest.mark.parametrize("case", _CASES)
async def test_deny_refuses_who_fits_and_nobody_else(world: PolicyWorld, case: str) -> None:
    rule, asks = _CASES[case]
    await world.apply(policy("one", _in(world, rule), action="DENY"))
    known = [each for each in asks if each.who is not PLAIN]

    wanted = [DENIED if each.status == ALLOWED else ALLOWED for each in known]
    assert await statuses(world, known, wanted) == wanted


@pytest.mark.parametrize("case", [name for name, (_, asks) in _BY_SOURCE.items() if any(each.who is PLAIN for each in asks)])
async def test_t47_plaintext_satisfies_no_negation_of_an_allow_and_every_one_of_a_deny(world: PolicyWorld, case: str) -> None:
    rule, _ = _BY_SOURCE[case]
    plain, wanted = [Ask(DENIED, who=PLAIN)], [DENIED if case.startswith("not ") else ALLOWED]

    await world.apply(policy("one", _in(world, rule)))
    allowed = await statuses(world, plain)
    await world.apply(policy("one", _in(world, rule), action="DENY"))
    denied = await statuses(world, plain, wanted)

    assert (allowed, denied) == ([DENIED], wanted)


async def test_without_policies_everybody_is_let_in(world: PolicyWorld) -> None:
    await world.apply()

    assert await statuses(world, [Ask(ALLOWED), Ask(ALLOWED, who=STRANGER), Ask(ALLOWED, who=PLAIN)]) == [ALLOWED] * 3
    assert await world.talk(b"hello") == b"hello"
    assert await world.through_own_envoy() == ALLOWED


async def test_a_policy_without_rules_allows_nothing_and_an_empty_rule_allows_everything(world: PolicyWorld) -> None:
    await world.apply(policy("nothing"))
    nothing = await statuses(world, [Ask(DENIED), Ask(DENIED, who=PLAIN)])
    bytes_of_nothing = await world.talk(b"hello")
    await world.apply(f"{policy('nothing')}\n---\n{policy('everything', {})}")

    assert (nothing, bytes_of_nothing) == ([DENIED] * 2, b"")
    assert await statuses(world, [Ask(ALLOWED), Ask(ALLOWED, who=PLAIN)]) == [ALLOWED] * 2
    assert await world.talk(b"hello") == b"hello"


async def test_a_workload_that_asks_through_its_own_envoy_is_judged_by_its_identity(world: PolicyWorld) -> None:
    for field, wanted in (("principals", ALLOWED), ("notPrincipals", DENIED), ("principals", ALLOWED)):
        await world.apply(policy("one", by(**{field: ["cluster.local/ns/elsewhere/sa/caller"]})))
        before = [await world.through_own_envoy() for _ in range(2)]

        async def judged_so(wanted: int = wanted) -> bool:
            return await world.through_own_envoy() == wanted

        # A connection that was open before the change is closed with the first answer after it.
        await until(judged_so, f"the caller gets {wanted}")
        assert before[1] == wanted


async def test_a_denial_overrules_whatever_is_allowed_and_an_audit_changes_nothing(world: PolicyWorld) -> None:
    allowed = policy("allowed", by(namespaces=["shop"]))
    await world.apply(
        f"{allowed}\n---\n{policy('denied', to(paths=['/admin*']), action='DENY')}\n---\n{policy('audited', {}, action='AUDIT')}"
    )

    assert await statuses(world, [Ask(ALLOWED), Ask(DENIED, "/admin"), Ask(DENIED, who=STRANGER)]) == [ALLOWED, DENIED, DENIED]


async def test_policies_of_the_root_namespace_hold_everywhere_and_those_of_other_namespaces_do_not(world: PolicyWorld) -> None:
    root = policy("everywhere", to(paths=["/secret"]), action="DENY", namespace="istio-system")
    others = policy("others", {}, action="DENY", namespace="elsewhere")
    selecting = policy("selecting", {}, action="DENY", selector={"matchLabels": {"app": "other"}})
    await world.apply(f"{root}\n---\n{others}\n---\n{selecting}")

    assert await statuses(world, [Ask(ALLOWED), Ask(DENIED, "/secret")]) == [ALLOWED, DENIED]


async def test_what_is_tried_is_counted_and_not_enforced(world: PolicyWorld) -> None:
    tried = json.loads(policy("tried", to(paths=["/tried"]), action="DENY"))
    tried["metadata"]["annotations"] = {"istio.io/dry-run": "true"}
    await world.apply(json.dumps(tried))
    before = await world.counted("istio_dry_run_deny_.*shadow_denied")

    found = await statuses(world, [Ask(ALLOWED, "/tried"), Ask(ALLOWED, "/other")])

    async def one_more() -> bool:
        return await world.counted("istio_dry_run_deny_.*shadow_denied") == before + 1

    assert found == [ALLOWED, ALLOWED]
    await until(one_more, "the denial is counted")


_TCP: dict[str, tuple[str, Json, bool, bool, bool]] = {  # friend, stranger, plaintext
    "principals": ("ALLOW", by(principals=[_PRINCIPAL]), True, False, False),
    "not these principals": ("ALLOW", by(notPrincipals=[_PRINCIPAL]), False, True, False),
    "namespaces": ("ALLOW", by(namespaces=["elsewhere"]), False, True, False),
    "not these namespaces denied": ("DENY", by(notNamespaces=["shop"]), True, False, False),
    "addresses": ("ALLOW", by(ipBlocks=["{net}.31"]), True, True, True),
    "other addresses": ("DENY", by(ipBlocks=["{net}.31"]), False, False, False),
    "ports": ("ALLOW", to(ports=["9090"]), True, True, True),
    "other ports": ("ALLOW", to(ports=["9080"]), False, False, False),
    "what only requests have": ("ALLOW", to(methods=["GET"]), False, False, False),
    "what only requests have denied": ("DENY", {**by(namespaces=["shop"]), **to(methods=["POST"])}, False, True, True),
}


@pytest.mark.parametrize("case", _TCP)
async def test_connections_are_judged_as_requests_are(world: PolicyWorld, case: str) -> None:
    action, rule, *wanted = _TCP[case]
    await world.apply(policy("one", _in(world, rule), action=action))

    async def judged_so() -> bool:
        return [await world.talk(b"hello", who=who) == b"hello" for who in (FRIEND, STRANGER, PLAIN)] == wanted

    await until(judged_so, f"connections are judged {wanted}")
