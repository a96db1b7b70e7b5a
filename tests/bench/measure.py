"""The measurements, each of a server that runs: figures by name, in the unit that the name ends with."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from controlplane.envoy.type_urls import CDS, EDS, VHDS
from tests.bench import workload
from tests.bench.load import endless_changes
from tests.bench.served import Bare, Served
from tests.bench.swarm_process import Arrival
from tests.bench.workload import Size
from tests.support.waiting import until

Figures: TypeAlias = dict[str, float]

MB = 1_000_000
CHANGED = 7  # the number of the service that is changed
REPETITIONS = 20
_REST_S = 4.0  # before memory is measured: what was needed only to connect is given back when nothing is going on
_QUIET_S = 0.5  # without a response: then all changes have been sent
_ACKS_S = 0.05  # between two changes: the last ACKs
_LOADED_S = 2.0  # of changes of others, before one is measured beside them
_BESIDE = 10  # changes that are measured beside others
_NEW = 5  # Services that are made and deleted
_SLOW = 20  # one in so many sidecars reads nothing
_LEFT, _LEFT_S = 1.02, 12.0  # of the memory before anybody came; how long that is waited for
_PODS, _AT_ONCE = 100, 25  # of the Deployment that is rolled, and how many of them are replaced together


def viewers(size: Size, number: int = CHANGED) -> range:
    """Return who sees the service ``number``."""
    return range(number % size.namespaces, size.proxies, size.namespaces) if size.scoped else range(size.proxies)


async def connect(served: Served) -> Figures:
    """Connect everybody."""
    arrival = await served.swarm.connect(served.addresses, served.everybody)
    await asyncio.sleep(_REST_S)
    a_proxy = (served.resident() - served.before) / MB / served.size.proxies
    sent = arrival.traffic.bytes / served.size.proxies / MB
    return {
        "ready_s": served.ready_s,
        "connect_s": arrival.last - arrival.begun,
        "connect_first_s": arrival.first - arrival.begun,
        "memory_a_proxy_mb": a_proxy,
        "configuration_mb": sent,
    }


async def endpoint(served: Served, repetitions: int = REPETITIONS) -> Figures:
    """Change one endpoint, again and again."""
    return _figures("endpoint", [await _endpoint(served) for _ in range(repetitions)])


async def route(served: Served, repetitions: int = REPETITIONS) -> Figures:
    """Change one VirtualService, again and again."""

    async def one() -> _Timed:
        seconds = 20 + served.turn("route")
        value = workload.route(CHANGED, served.size, timeout_s=seconds)
        await _expect(served, VHDS, workload.virtual_host(CHANGED, served.size), workload.timeout_mark(seconds))
        return await _timed(served, await served.store.change(value))

    return _figures("route", [await one() for _ in range(repetitions)])


async def services(served: Served, repetitions: int = _NEW) -> Figures:
    """Make Services and delete them: until everybody has the endpoints of one, and has been told that its cluster is gone."""
    size, made, deleted = served.size, [], []
    beyond = size.services + -size.services % size.namespaces + CHANGED % size.namespaces  # in the usual namespace
    for turn in range(repetitions):
        number = beyond + turn * size.namespaces
        name = workload.cluster(number, size)
        await _expect(served, EDS, name, b"")
        begun = await served.store.create(workload.service(number, size))
        await served.store.create(workload.endpoints(number, size))
        made.append(await _timed(served, begun))
        await served.swarm.expect(CDS, name, b"", viewers(size), removed=True)
        begun = await served.store.delete(workload.service(number, size))
        await served.store.delete(workload.endpoints(number, size))
        deleted.append(await _timed(served, begun))
    return {**_figures("new_service", made), **_figures("deleted_service", deleted)}


async def churn(served: Served, a_second: int) -> Figures:
    """Change one endpoint while others change, so many ``a_second``."""
    async with endless_changes(served.store, served.size, a_second) as made:
        await asyncio.sleep(_LOADED_S)
        found = [await _endpoint(served) for _ in range(_BESIDE)]
    await _settled(served)
    return {
        f"beside_{a_second}_ms": statistics.median(each.last_ms for each in found),
        f"beside_{a_second}_slowest_ms": max(each.last_ms for each in found),
        f"beside_{a_second}_made": made.a_second,
    }


async def reconnect(served: Served) -> Figures:
    """Let everybody come again with what they have."""
    await served.swarm.leave(served.everybody)
    before = await served.swarm.traffic()
    arrival = await served.swarm.connect(served.addresses, served.everybody, again=True)
    await asyncio.sleep(1)  # for what would come late
    sent = (await served.swarm.traffic()).since(before)
    return {
        "reconnect_s": arrival.last - arrival.begun,
        "reconnect_resources": sent.resources,
        "reconnect_resource_bytes": sent.resource_bytes,
    }


async def slow_readers(served: Served) -> Figures:
    """Let one sidecar in twenty read nothing while endpoints change, and then all again."""
    size = served.size
    all_of_them = viewers(size)
    count = max(1, len(all_of_them) // _SLOW)
    slow, others = all_of_them[-count:], all_of_them[:-count]
    memory = served.resident()
    await served.swarm.pause(slow)
    async with endless_changes(served.store, size, 200):
        await asyncio.sleep(_LOADED_S)
        found = [await _endpoint(served, others) for _ in range(_BESIDE)]
        grown = served.resident() - memory
    turn = served.turn("endpoint")
    await served.swarm.expect(EDS, workload.cluster(CHANGED, size), workload.moved_address(turn).encode(), slow)
    await served.store.change(workload.endpoints(CHANGED, size, moved=turn))
    begun = time.perf_counter()
    await served.swarm.resume(slow)
    caught_up = await served.swarm.arrival()
    await _settled(served)
    return {
        "slow_others_ms": statistics.median(each.last_ms for each in found),
        "slow_memory_mb": grown / MB,
        "slow_caught_up_ms": (caught_up.last - begun) * 1000,
    }


async def rollout(served: Served) -> Figures:
    """Restart a Deployment of 100 pods: new sidecars connect, endpoints become others one by one, old sidecars leave; 25 at a time."""
    size, number = served.size, CHANGED + served.size.namespaces
    pods = min(_PODS, size.proxies // 2)
    seeing = viewers(size, number)
    staying = range(seeing.start, size.proxies - pods, seeing.step)
    await served.store.change(workload.rolled(number, size, pods, 0))
    await asyncio.sleep(_ACKS_S)
    before = await served.swarm.traffic()
    begun = time.perf_counter()
    changes: list[_Timed] = []
    for first in range(0, pods, _AT_ONCE):
        batch = range(first, min(pods, first + _AT_ONCE))
        await served.swarm.connect(served.addresses, _shifted(batch, size.proxies))
        for pod in batch:
            mark = workload.replaced_address(pod).encode() if pod == batch[-1] else b""
            if mark:
                await served.swarm.expect(EDS, workload.cluster(number, size), mark, staying)
            changed_at = await served.store.change(workload.rolled(number, size, pods, pod + 1))
        changes.append(await _timed(served, changed_at))
        await served.swarm.leave(_shifted(batch, size.proxies - pods))
    sent = (await served.swarm.traffic()).since(before)
    return {
        "rollout_s": time.perf_counter() - begun,
        "rollout_last_change_ms": statistics.median(each.last_ms for each in changes),
        "rollout_mb": sent.bytes / MB,
    }


async def left(served: Served) -> Figures:
    """Let everybody leave, come once more and leave again; what memory is left then, in parts of what there was before."""
    everybody_ever = range(2 * served.size.proxies)
    await served.swarm.leave(everybody_ever)
    once = await _given_back(served, served.before)
    await served.swarm.connect(served.addresses, served.everybody)
    await served.swarm.leave(everybody_ever)
    again = await _given_back(served, once)
    return {"memory_left": once / served.before, "memory_left_again": again / once}


async def _given_back(served: Served, before: int) -> int:
    """Return the memory of all processes once it is nearly what it was ``before``, or has been waited for long enough."""
    with contextlib.suppress(TimeoutError):
        await until(lambda: served.resident() <= _LEFT * before, "memory is given back", deadline_s=_LEFT_S)
    return served.resident()


async def of_bare(bare: Bare, repetitions: int = REPETITIONS) -> Figures:
    """Measure the bare server in the same way."""
    everybody = range(bare.size.proxies)
    arrival = await bare.swarm.connect([bare.address], everybody)
    await asyncio.sleep(1)

    async def one(type_url: str, name: str) -> _Timed:
        await bare.swarm.expect(type_url, name, b"", everybody)
        begun = await bare.send(type_url)
        return _Timed.of(begun, await bare.swarm.arrival())

    endpoints = [await one(EDS, workload.cluster(CHANGED, bare.size)) for _ in range(repetitions)]
    routes = [await one(VHDS, workload.virtual_host(CHANGED, bare.size)) for _ in range(repetitions)]
    found = {"connect_s": arrival.last - arrival.begun, **_figures("endpoint", endpoints), **_figures("route", routes)}
    return {f"bare_{name}": figure for name, figure in found.items()}


@dataclass(frozen=True, slots=True)
class _Timed:
    """One change: when the first and the last who wait for it have it, in milliseconds after it was made; the bytes of all responses."""

    first_ms: float
    last_ms: float
    sent: int

    @classmethod
    def of(cls, begun: float, arrival: Arrival) -> _Timed:
        return cls((arrival.first - begun) * 1000, (arrival.last - begun) * 1000, arrival.traffic.bytes)


def _figures(name: str, found: Iterable[_Timed]) -> Figures:
    each = list(found)
    last = [one.last_ms for one in each]
    return {
        f"{name}_first_ms": statistics.median(one.first_ms for one in each),
        f"{name}_last_ms": statistics.median(last),
        f"{name}_p99_ms": statistics.quantiles(last, n=100, method="inclusive")[98] if len(last) > 1 else last[0],
        f"{name}_sent_mb": max(one.sent for one in each) / MB,
    }


async def _endpoint(served: Served, numbers: range | None = None) -> _Timed:
    turn = served.turn("endpoint")
    mark = workload.moved_address(turn).encode()
    await served.swarm.expect(EDS, workload.cluster(CHANGED, served.size), mark, viewers(served.size) if numbers is None else numbers)
    return await _timed(served, await served.store.change(workload.endpoints(CHANGED, served.size, moved=turn)))


async def _expect(served: Served, type_url: str, name: str, mark: bytes) -> None:
    await served.swarm.expect(type_url, name, mark, viewers(served.size))


async def _timed(served: Served, begun: float) -> _Timed:
    arrival = await served.swarm.arrival()
    await asyncio.sleep(_ACKS_S)
    return _Timed.of(begun, arrival)


async def _settled(served: Served) -> None:
    """Wait until nothing more is sent of what was changed."""
    seen = [await served.swarm.traffic()]

    async def nothing_new() -> bool:
        await asyncio.sleep(_QUIET_S)
        seen.append(await served.swarm.traffic())
        return seen[-1].responses == seen[-2].responses

    await until(nothing_new, "nothing more is sent")


def _shifted(numbers: range, by: int) -> range:
    return range(numbers.start + by, numbers.stop + by)
