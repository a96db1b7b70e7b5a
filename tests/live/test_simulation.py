"""The simulator says what a real Envoy does: random traffic, captured by iptables, by random configurations of our own translation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random

from controlplane.simulation.resources import Resources
from controlplane.simulation.simulate import simulate
from tests.support import network_namespaces as namespaces
from tests.support.proofs import cases, seed
from tests.support.simulation.bed import Bed, bed
from tests.support.simulation.compared import Observed, agrees, observed
from tests.support.simulation.envoy_configurations import envoy_configuration
from tests.support.simulation.inner import Call, Result, address_of
from tests.support.simulation.instrumented import instrumented, packed
from tests.support.simulation.manifests import Configuration
from tests.support.simulation.traffic import call, simulated
from tests.support.simulation.translated import Configured, translated
from tests.support.waiting import until

CONFIGURATIONS = 10  # in `make test`
CALLS = 25  # by each of them


async def test_a_simulation_of_what_is_translated_says_what_a_real_envoy_does(tmp_path: Path) -> None:
    assert await disagreements(tmp_path, translated) == []


async def test_a_simulation_of_whatever_envoy_takes_says_what_a_real_envoy_does(tmp_path: Path) -> None:
    assert await disagreements(tmp_path, lambda random, _: envoy_configuration(random)) == []


async def disagreements(folder: Path, configured: Callable[[Random, Path], Configured]) -> list[str]:
    """Return what goes wrong by random configurations, of which ``configured`` makes each; say how much was tried."""
    namespaces.needed()
    count, first = cases(CONFIGURATIONS), seed()
    wrong: list[str] = []
    landings: Counter[str] = Counter()
    async with bed(folder) as found:
        for number in range(count):
            random = Random(f"{first}/{number}")
            made, messages = configured(random, folder)
            resources = instrumented(messages, found.log, number + 1)
            wrong += [
                f"NAVARCH_SEED={first}, configuration {number}: {each}" async for each in tried(found, random, made, resources, landings)
            ]
    print(*wrong, sep="\n")
    print(f"seed {first}: {count} configurations, {count * CALLS} connections, {len(wrong)} disagreements; {dict(landings)}")
    return wrong


async def tried(found: Bed, random: Random, made: Configuration, resources: Resources, landings: Counter[str]) -> AsyncIterator[str]:
    """Yield what Envoy refuses of ``resources``, and where it does not do as was said; count in ``landings`` what became of traffic."""
    for refusal in await found.replace(packed(resources)):
        yield f"refused: {refusal}"
    calls = [call(random, made) for _ in range(CALLS)]
    results, addresses = await found.call(calls), addresses_of(resources)
    for given, result in zip(calls, results, strict=True):
        seen = await decided(found, given, result)
        simulation = simulate(simulated(given, result["port"]), resources)
        landings.update({type(outcome.landing).__name__ for outcome in simulation.outcomes})
        if not agrees(simulation, seen, given["path"], addresses):
            yield f"{given} was {seen}, and not {[(outcome.landing, outcome.steps) for outcome in simulation.outcomes]}"


async def decided(found: Bed, given: Call, result: Result) -> Observed:
    """Return what Envoy did with ``given``, once its log tells it."""
    client = f"{given['source']}:{result['port']}"

    def told() -> Observed | None:
        found.read_log()
        entries = found.entries.get(client, [])
        assert all(entry["version"] == str(found.ads.version) for entry in entries)
        return observed(entries, result["answer"], silent=given["kind"] == "silent")

    await until(told, f"the log tells what became of {given}, which was answered {result}", watched=found.envoy)
    seen = told()
    assert seen
    return seen


def addresses_of(resources: Resources) -> dict[str, str]:
    """Return the addresses of the host names that clusters of ``resources`` look up."""
    endpoints = [
        endpoint.endpoint.address.socket_address.address
        for cluster in resources.clusters.values()
        for locality in cluster.load_assignment.endpoints
        for endpoint in locality.lb_endpoints
    ]
    return {name: address_of(name) for name in endpoints if not re.fullmatch("[0-9.]+", name)}
