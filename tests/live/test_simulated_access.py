"""The simulator lets in and keeps out whom a real Envoy does, by the same rule: random clients, and random policies of ours."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from random import Random

import yaml

from controlplane.mesh.mesh import Mesh
from controlplane.model.identity import Identity
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import split
from controlplane.simulation.resources import ResourceMessage, Resources
from controlplane.simulation.result import Answered, Forwarded, Outcome, Stage
from controlplane.simulation.simulate import simulate
from controlplane.simulation.traffic import Address, ClientConnection, FirstBytes, PlainHttp, RawBytes, Request, TlsHello
from controlplane.sources.files.once import STDIN, read_manifests
from controlplane.xds.stream import Variant
from tests.support import network_namespaces as namespaces
from tests.support.proofs import cases, seed
from tests.support.simulation.bed import INBOUND, Bed, bed
from tests.support.simulation.inner import Call, Result
from tests.support.simulation.instrumented import instrumented, messages_of, packed
from tests.support.simulation.mutual import Certificates, certificates, with_files
from tests.support.simulation.policies import IDENTITIES, access_call, policies
from tests.support.simulation.translated import METADATA, NODE
from tests.support.waiting import until

CONFIGURATIONS = 3  # in `make test`
CALLS = 170  # by each of them
_DENIED = "rbac_access_denied_matched_policy"


async def test_the_simulation_lets_in_and_keeps_out_whom_a_real_envoy_does(tmp_path: Path) -> None:
    namespaces.needed()
    count, first = cases(CONFIGURATIONS), seed()
    wrong: list[str] = []
    verdicts: Counter[str] = Counter()
    files = certificates(tmp_path, IDENTITIES)
    async with bed(tmp_path) as found:
        for number in range(count):
            random = Random(f"{first}/{number}")
            documents = policies(random).documents
            resources = instrumented(with_files(translated(documents), files), found.log, number + 1)
            where = f"NAVARCH_SEED={first}, configuration {number}"
            wrong += [f"{where}: {each}" async for each in tried(found, random, files, resources, verdicts)]
    print(*wrong[:20], sep="\n")
    print(f"seed {first}: {count} configurations, {count * CALLS} calls, {len(wrong)} disagreements; {dict(verdicts)}")

    assert wrong == []


def translated(documents: list[dict[str, object]]) -> list[ResourceMessage]:
    """Return what the workload's proxy is sent by ``documents``."""
    _, changes = read_manifests([STDIN], io.BytesIO(yaml.safe_dump_all(documents).encode()))
    mesh = Mesh()
    mesh.apply(split(changes)[0])
    proxy = proxy_from_node(NODE, {**METADATA, "LABELS": {"app": "client", "security.istio.io/tlsMode": "istio"}})
    session = mesh.connect(replace(proxy, identity=Identity("cluster.local", "default", "client")), Variant.SOTW)
    assert mesh.refresh().failed == ()
    return messages_of(session.view)


async def tried(found: Bed, random: Random, files: Certificates, resources: Resources, verdicts: Counter[str]) -> AsyncIterator[str]:
    """Yield what Envoy refuses of ``resources``, and where it does not do as was said; count in ``verdicts``."""
    for refusal in await found.replace(packed(resources)):
        yield f"refused: {refusal}"
    made = [access_call(random, files) for _ in range(CALLS)]
    results = await found.call([call for call, _ in made])
    for (call, principal), result in zip(made, results, strict=True):
        entries = await told(found, call, result)
        outcomes = simulate(traffic(call, principal, result["port"]), resources).outcomes
        verdicts.update({type(outcome.landing).__name__ for outcome in outcomes})
        secured = call["kind"].startswith("mtls-")
        if not any(agrees(outcome, entries, result["answer"], secured=secured) for outcome in outcomes):
            said = [(outcome.landing, outcome.asks, outcome.steps) for outcome in outcomes]
            yield f"{call} was answered {result['answer'][:200]!r}, {entries}, and not {said}"


async def told(found: Bed, call: Call, result: Result) -> list[dict[str, str]]:
    """Return what the log tells of ``call``, once its connection is over: its listener is logged last."""
    client = f"{call['source']}:{result['port']}"

    def over() -> bool:
        found.read_log()
        return any(entry["kind"] == "listener" for entry in found.entries.get(client, []))

    await until(over, f"the log tells what became of {call}", watched=found.envoy)
    return found.entries[client]


def traffic(call: Call, principal: str, port: int) -> ClientConnection | Request:
    """Return ``call``, made from ``port`` by ``principal``, as it is simulated."""
    secured = call["kind"].startswith("mtls-")
    is_request = call["kind"].endswith("http1")
    first_bytes: FirstBytes = PlainHttp() if is_request else RawBytes()
    connection = ClientConnection(
        source=Address(call["source"], port),
        destination=Address(call["destination"], call["port"]),
        first_bytes=TlsHello(call["server_name"], tuple(call["protocols"])) if secured else first_bytes,
        redirected_to=Address("127.0.0.1", INBOUND),
        principal=principal,
    )
    if not is_request:
        return connection
    headers = tuple(call["headers"])
    return Request(connection=connection, authority=call["authority"], path=call["path"], method=call["method"], headers=headers)


def agrees(outcome: Outcome, entries: list[dict[str, str]], answer: str, *, secured: bool) -> bool:
    """Return whether what ``entries`` of the log and the client's ``answer`` say is ``outcome``, by the same policy."""
    contacted = f"<{call_end(outcome)}>" in answer if isinstance(outcome.landing, Forwarded) else "<" in answer
    denied = {text for entry in entries for name in ("details", "termination") if _DENIED in (text := entry.get(name) or "")}
    last = outcome.steps[-1]
    by_policy = last.stage is Stage.POLICIES and last.resource in {"ALLOW", "DENY"}
    if outcome.asks or bool(denied) is not (by_policy and not isinstance(outcome.landing, Forwarded)):
        return False
    if denied and denied != {f"{_DENIED}[{last.chosen or 'none'}]"}:
        return False
    match outcome.landing:
        case Forwarded() if secured and is_passed_whole(outcome):
            return any(entry.get("endpoint") == call_end(outcome) for entry in entries)
        case Forwarded():
            return contacted
        case Answered(status):
            return not contacted and any(int(entry.get("status") or 0) == status for entry in entries)
        case _:
            return not contacted


def is_passed_whole(outcome: Outcome) -> bool:
    """Return whether TLS goes on to the application, which is none that finishes the handshake: only the log tells where."""
    return not any("TLS" in step.chosen for step in outcome.steps if step.stage is Stage.NETWORK_FILTER)


def call_end(outcome: Outcome) -> str:
    """Return the address that ``outcome`` leads to."""
    [address] = outcome.landing.endpoints if isinstance(outcome.landing, Forwarded) else ("",)
    return address
