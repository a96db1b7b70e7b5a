"""Objects that are broken by an edit, on a real API server with two replicas: what comes of requests by each, and what its status says.

Before the edit, after it, once everything was started anew, and after one replica took over from the other: the last three are equal,
nothing of security is more open than before, and the next namespace notices nothing. Each object is in a namespace of its own, so all
are edited at once. Nobody asks the webhook: the broken objects are there as those of old are in any cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

import pytest
import pytest_asyncio

from tests.support.authorization import DENIED, Json, by, policy, to
from tests.support.jwt_requests import believing, rule
from tests.support.verdict_cluster import CLOSED, Condition, VerdictCluster, Verdicts, verdict_cluster
from tests.support.waiting import DEADLINE_S, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNBELIEVED, ABORTED, UNAVAILABLE = 401, 418, 503
HOLD_S = 15
_NEXT = "next"
_STAGES = ("before", "edited", "restarted", "failed over")


class Edit(NamedTuple):
    """An object, what an edit makes of it, what comes of requests by either, and the reason that ``Programmed`` gives afterwards."""

    resource: str
    good: str
    broken: str
    before: Verdicts
    after: Verdicts
    accepted: str
    programmed: str
    accepted_before: str = "Accepted"


class Row(NamedTuple):
    """What was seen of one edit at one stage."""

    verdicts: Verdicts
    neighbour: Verdicts
    conditions: Mapping[str, Condition]


def networking(namespace: str, **rule: object) -> str:
    """Return the VirtualService of the workload in ``namespace``."""
    spec = {"hosts": ["web"], "http": [rule]}
    metadata = {"name": "one", "namespace": namespace}
    return json.dumps({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata, "spec": spec})


def strict(namespace: str, **ports: str) -> str:
    """Return a PeerAuthentication of STRICT, but for ``ports``."""
    spec: dict[str, object] = {"selector": _WEB, "mtls": {"mode": "STRICT"}}
    if ports:
        spec["portLevelMtls"] = {port: {"mode": mode} for port, mode in ports.items()}
    metadata = {"name": "one", "namespace": namespace}
    return json.dumps({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": metadata, "spec": spec})


def routes(*hosts: str, weight: int = 1) -> list[Json]:
    return [{"destination": {"host": host, "port": {"number": 9080}}, "weight": weight} for host in hosts]


_VIRTUAL_SERVICES = "virtualservices.networking.istio.io"
_POLICIES = "authorizationpolicies.security.istio.io"
_WEB: Json = {"matchLabels": {"app": "web"}}
_VAULT: Json = to(paths=["/vault"])
_BROKEN: Json = {**_VAULT, **by(ipBlocks=["127.0.0.0/88"])}
_FRIENDS: Json = by(principals=["cluster.local/ns/shop/sa/friend"])
_ABORT: Json = {"abort": {"httpStatus": ABORTED, "percentage": {"value": 100}}}
_NOTHING = Verdicts(DENIED, DENIED, DENIED, DENIED, DENIED, CLOSED, DENIED)
_NO_VAULT = Verdicts(vault=DENIED, bytes=CLOSED)
_MUTUAL = Verdicts(plaintext=CLOSED)
_EDITS = {
    "typo": Edit(
        _VIRTUAL_SERVICES,
        networking("typo", route=routes("web")),
        networking("typo", route=routes("wbe")),
        Verdicts(),
        Verdicts(routed=UNAVAILABLE),
        "UnknownHost",
        "Programmed",
    ),
    "deny": Edit(
        _POLICIES,
        policy("one", _VAULT, action="DENY", namespace="deny"),
        policy("one", _BROKEN, action="DENY", namespace="deny"),
        _NO_VAULT,
        _NOTHING,
        "OutOfRange",
        "Closed",
        "NotHttp",  # a warning: of bytes there is no path
    ),
    "allow": Edit(
        _POLICIES,
        policy("one", _FRIENDS, namespace="allow"),
        policy("one", _FRIENDS, {"from": [{"source": {}}]}, namespace="allow"),
        Verdicts(plaintext=DENIED, routed=DENIED),
        _NOTHING,
        "Required",
        "Closed",
    ),
    "audit": Edit(
        _POLICIES,
        policy("one", _VAULT, action="AUDIT", namespace="audit"),
        policy("one", _BROKEN, action="AUDIT", namespace="audit"),
        Verdicts(),
        Verdicts(),
        "OutOfRange",
        "NotInEffect",
        "NotHttp",
    ),
    "tokens": Edit(
        "requestauthentications.security.istio.io",
        believing(rule(), name="one", namespace="tokens"),
        believing(rule(outputPayloadToHeader=":path"), name="one", namespace="tokens"),
        Verdicts(bad_token=UNBELIEVED),
        Verdicts(token=UNBELIEVED, bad_token=UNBELIEVED),
        "OutOfRange",
        "Closed",
    ),
    "strict": Edit(
        "peerauthentications.security.istio.io",
        strict("strict"),
        strict("strict", **{"9080": "PERMISSIVE", "09080": "DISABLE"}),
        _MUTUAL,
        _MUTUAL,
        "Conflict",
        "Closed",
    ),
    "invalid": Edit(
        _VIRTUAL_SERVICES,
        networking("invalid", fault=_ABORT, route=routes("web")),
        networking("invalid", fault=_ABORT, route=routes("web", "web", weight=0)),
        Verdicts(routed=ABORTED),
        Verdicts(routed=ABORTED),  # as long as the control plane runs that has seen it good
        "OutOfRange",
        "LastGood",
    ),
}
_NEIGHBOUR = policy("one", _VAULT, action="DENY", namespace=_NEXT)


class Table:
    """What was seen of each edit at each stage, and what was more open than before at any moment in between."""

    def __init__(self, world: VerdictCluster) -> None:
        self.world = world
        self.rows: dict[str, dict[str, Row]] = defaultdict(dict)
        self.opened: list[tuple[str, str, list[str]]] = []

    async def look(self, stage: str, wanted: Mapping[str, tuple[Verdicts, str, str]]) -> None:
        """Note what comes of each edit at ``stage``: as soon as that is ``wanted``, as all replicas and Envoys take their time."""
        neighbour = await self._once(stage, _NEXT, _NO_VAULT)
        await asyncio.gather(*(self._look(stage, case, neighbour, *wanted[case]) for case in _EDITS))

    async def tells_of_hold(self) -> bool:
        """Return whether the status of the VirtualService with a typo says that it is held back."""
        found = await self.world.conditions(_VIRTUAL_SERVICES, "typo", "one")
        return found["Programmed"] == Condition("False", "HeldBack", current=True)

    async def _look(self, stage: str, case: str, neighbour: Verdicts, verdicts: Verdicts, accepted: str, programmed: str) -> None:
        found = await self._once(stage, case, verdicts)
        self.rows[case][stage] = Row(found, neighbour, await self._told(case, accepted, programmed))

    async def _once(self, stage: str, namespace: str, wanted: Verdicts) -> Verdicts:
        found: list[Verdicts] = []
        before = _EDITS[namespace].before if namespace in _EDITS else _NO_VAULT

        async def as_wanted() -> bool:
            found[:] = [await self.world.verdicts(namespace)]
            if stage != _STAGES[0] and (opened := found[0].more_open_than(before)):
                self.opened.append((stage, namespace, opened))
            return found == [wanted]

        with contextlib.suppress(TimeoutError):
            await until(as_wanted, deadline_s=DEADLINE_S / 2)
        return found[0]

    async def _told(self, case: str, accepted: str, programmed: str) -> Mapping[str, Condition]:
        found: dict[str, Condition] = {}

        async def as_wanted() -> bool:
            found.clear()
            found.update(await self.world.conditions(_EDITS[case].resource, case, "one"))
            reasons = [found[kind].reason for kind in ("Accepted", "Programmed") if kind in found and found[kind].current]
            return reasons == [accepted, programmed]

        with contextlib.suppress(TimeoutError):
            await until(as_wanted, deadline_s=DEADLINE_S / 2)
        return found


def after(stage: str, case: str) -> tuple[Verdicts, str, str]:
    """Return what is to be seen of an edit at a ``stage`` after it, and what its status says; nobody remembers what was good for ever."""
    edit = _EDITS[case]
    if case == "invalid" and stage != "edited":
        return Verdicts(), edit.accepted, "NotInEffect"
    return edit.after, edit.accepted, edit.programmed


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def table(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Table]:
    async with verdict_cluster(tmp_path_factory.mktemp("verdicts"), (*_EDITS, _NEXT), HOLD_S) as world:
        found = Table(world)
        await world.apply(_NEIGHBOUR, *(edit.good for edit in _EDITS.values()))
        await found.look("before", {case: (edit.before, edit.accepted_before, "Programmed") for case, edit in _EDITS.items()})

        await world.apply(*(edit.broken for edit in _EDITS.values()))
        await until(found.tells_of_hold, "the status says that a rule is held back", deadline_s=HOLD_S)
        await found.look("edited", {case: after("edited", case) for case in _EDITS})

        await world.stop_planes()
        await world.start_planes()
        await world.start_envoys()
        await world.all_connected()
        await found.look("restarted", {case: after("restarted", case) for case in _EDITS})

        leader = world.planes[await world.leader()]
        assert leader.process is not None
        await leader.process.stop(kill=True)
        await world.all_connected()
        await asyncio.gather(*(world.forget_conditions(edit.resource, case, "one") for case, edit in _EDITS.items()))
        await found.look("failed over", {case: after("failed over", case) for case in _EDITS})
        yield found


@pytest.mark.parametrize("case", _EDITS)
async def test_a_broken_edit_means_the_same_after_a_restart_and_on_every_replica(table: Table, case: str) -> None:
    rows = table.rows[case]
    for stage in _STAGES:
        print(f"{case:8}{stage:12}{describe(rows[stage].verdicts)}; {_NEXT}: {describe(rows[stage].neighbour)}; {said(rows[stage])}")

    edit = _EDITS[case]
    reasons = {stage: [rows[stage].conditions[kind].reason for kind in ("Accepted", "Programmed")] for stage in _STAGES}
    assert rows["before"].verdicts == edit.before
    assert reasons["before"] == [edit.accepted_before, "Programmed"]
    for stage in _STAGES[1:]:
        verdicts, accepted, programmed = after(stage, case)
        assert (stage, rows[stage].verdicts, reasons[stage]) == (stage, verdicts, [accepted, programmed])
    assert {row.neighbour for row in rows.values()} == {_NO_VAULT}
    assert all(row.conditions[kind].current for row in rows.values() for kind in ("Accepted", "Programmed"))
    if case != "invalid":  # which is not about security
        assert [each for each in table.opened if each[1] == case] == []


async def test_the_next_namespace_was_never_more_open(table: Table) -> None:
    assert [each for each in table.opened if each[1] == _NEXT] == []


def describe(verdicts: Verdicts) -> str:
    return " ".join(f"{name} {verdict or 'closed'}" for name, verdict in verdicts._asdict().items())


def said(row: Row) -> str:
    return ", ".join(f"{kind} {found.status} {found.reason}" for kind, found in sorted(row.conditions.items()))
