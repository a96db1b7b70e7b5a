"""The steps that show what the mesh tells of its requests: a trace, metrics, a line in a log; and that it limits them."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count

import httpx
from prometheus_client.parser import text_string_to_metric_families

from controlplane.demo.claims import DemoClaim
from controlplane.demo.gateway import HOST
from controlplane.demo.load import PAGE, RATINGS, LoadGenerator
from controlplane.demo.mesh import LISTENERS, DemoMesh
from controlplane.demo.observability.spans import Span, tree
from controlplane.demo.processes import ADMIN_PORT, PATIENCE_S, NotReady, until
from controlplane.demo.templates import template

_PAGES = 20  # a multiple of the spans that an Envoy sends at once: 5
_Call = tuple[str, str, str, str]  # the end that tells of it, source, destination, status
Step = Callable[[DemoMesh], Awaitable[DemoClaim]]
_SPANS = 7  # both sides of the gateway and of each of two calls, and the page itself
_SERVICES = {"ingress", "productpage", "details", "reviews"}


async def traced(world: DemoMesh) -> DemoClaim:
    """Show that the calls that a page takes are one trace, from the gateway on."""
    gateway = world.gateway
    if gateway is None:
        raise NotReady("there is no gateway in front of this mesh")
    collector = world.spans
    await world.accepted_by_all(world.store.save("observed", template("observed", collector=collector.ip)), LISTENERS)
    caller = LoadGenerator(gateway.client(gateway.trusted()))
    try:
        tally = await caller.many(f"https://{HOST}/productpage", _PAGES)
    finally:
        await caller.close()

    async def arrived() -> bool:
        return any(map(_is_whole, collector.traces()))

    with contextlib.suppress(NotReady):
        await until("a whole trace", arrived, seconds=PATIENCE_S)
    traces = list(collector.traces())
    whole = next(filter(_is_whole, traces), ())
    held = tally.failed == 0 and bool(whole)
    proof = f"{len(whole)} spans of {len({span.service for span in whole})} proxies, one trace, by Zipkin's collector"
    return DemoClaim("a page is one trace", held, proof, {"spans": len(whole), "traces": len(traces)}, tuple(tree(whole)))


async def counted(world: DemoMesh) -> DemoClaim:
    """Show Istio's metrics, from both ends of each call, by Envoys that no agent stands beside."""
    cannot = [row for row in await world.problems() if row["code"] == "NoMetrics"]
    if cannot:
        return DemoClaim("Istio's metrics on stock Envoys", held=True, proof=f"not here: {cannot[0]['message']}")
    found: Counter[_Call] = Counter()

    async def both_ends() -> bool:
        """Return whether all of 20 pages are counted at both ends: connections from before they were counted end after a request."""
        before = await _calls(world)
        await world.caller.many(PAGE, _PAGES)
        found.clear()
        found.update(await _calls(world) - before)
        wanted = dict.fromkeys(("details", "productpage", "reviews"), _PAGES)
        return _requests_by_service(found, "source") == _requests_by_service(found, "destination") == wanted

    with contextlib.suppress(NotReady):
        await until("the metrics", both_ends, seconds=PATIENCE_S)
    held = _requests_by_service(found, "source") == _requests_by_service(found, "destination") and found.total() == 2 * 3 * _PAGES
    proof = f"istio_requests_total of {_PAGES} pages, as callers and callees both tell it"
    calls = [(*ends, number) for (reporter, *ends), number in sorted(found.items()) if reporter == "source"]
    rows = [f"{source:16} -> {target:12} {code} {number:4}" for source, target, code, number in calls]
    return DemoClaim("Istio's metrics on stock Envoys", held, proof, {"calls": found.total()}, tuple(rows))


async def logged(world: DemoMesh) -> DemoClaim:
    """Show the line of one request in the log of the Envoy that took it."""
    log = world.envoys["productpage-v1"].log
    asked = f"/productpage?{random.randrange(1 << 32):08x}"  # noqa: S311 - any that nobody else has
    tally = await world.caller.many(f"{PAGE}?{asked.rpartition('?')[2]}", 1)
    lines: list[str] = []

    async def written() -> bool:
        lines[:] = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("access ") and asked in line]
        return bool(lines)

    with contextlib.suppress(NotReady):
        await until("the line in the log", written, seconds=PATIENCE_S)
    held = tally.failed == 0 and bool(lines)
    return DemoClaim(
        "an access log", held, f"{len(lines)} lines of one request to {asked}, by file", {"lines": len(lines)}, tuple(lines[:1])
    )


async def limited(world: DemoMesh) -> DemoClaim:
    """Show that each value of a header has a limit of its own."""
    await world.store.save("limits", template("limits"))
    users = count()

    async def in_effect() -> bool:
        """Return whether a new user is limited on every connection: those from before end after a request."""
        tally = await world.caller.many(RATINGS, 24, {"end-user": f"user-{next(users)}"})
        return tally.statuses == {200: 2, 429: 22}

    with contextlib.suppress(NotReady):
        await until("the limit", in_effect, seconds=PATIENCE_S)
    greedy, modest = (
        await world.caller.many(RATINGS, 6, {"end-user": "greedy"}),
        await world.caller.many(RATINGS, 2, {"end-user": "modest"}),
    )
    held = greedy.statuses == {200: 2, 429: 4} and modest.statuses == {200: 2}
    proof = (
        f"greedy: {greedy.statuses[200]} of {greedy.total} answered, {greedy.statuses[429]} with 429; modest: {modest.statuses[200]} of 2"
    )
    return DemoClaim("a limit for each user", held, proof, {"refused": greedy.statuses[429]})


STEPS: tuple[Step, ...] = (traced, counted, logged, limited)


async def _calls(world: DemoMesh) -> Counter[_Call]:
    """Return how many requests each Envoy has counted, by the end that tells, source, destination and status."""
    found: Counter[_Call] = Counter()
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        for name in world.envoys:
            page = await client.get(f"http://{world.instances[name].ip}:{ADMIN_PORT}/stats/prometheus?filter=istio_requests_total")
            for family in text_string_to_metric_families(page.text):
                for sample in family.samples:
                    labels = sample.labels
                    if sample.name == "istio_requests_total":
                        ends = labels["reporter"], labels["source_workload"], labels["destination_service_name"], labels["response_code"]
                        found[ends] += int(sample.value)
    return found


def _requests_by_service(found: Counter[_Call], end: str) -> dict[str, int]:
    """Return how often each service was asked, as ``end`` tells it."""
    asked: Counter[str] = Counter()
    for (reporter, _, target, _), number in found.items():
        if reporter == end:
            asked[target] += number
    return dict(asked)


def _is_whole(spans: tuple[Span, ...]) -> bool:
    known = {span.id for span in spans}
    roots = [span for span in spans if span.parent not in known]
    return len(roots) == 1 and len(spans) == _SPANS and {_app(span) for span in spans} == _SERVICES


def _app(span: Span) -> str:
    """Return the application whose proxy made ``span``, without its version and namespace."""
    return span.service.partition(".")[0].partition("-")[0]
