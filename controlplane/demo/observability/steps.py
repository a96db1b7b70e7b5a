"""The steps that show what the mesh tells of its requests: a trace, metrics, a line in a log; and that it limits them."""

from __future__ import annotations

import contextlib

from controlplane.demo.claims import DemoClaim
from controlplane.demo.gateway import HOST
from controlplane.demo.load import LoadGenerator
from controlplane.demo.mesh import LISTENERS, DemoMesh
from controlplane.demo.observability.spans import Span, tree
from controlplane.demo.processes import PATIENCE_S, NotReady, until
from controlplane.demo.templates import template

_PAGES = 20  # a multiple of the spans that an Envoy sends at once: 5
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


def _is_whole(spans: tuple[Span, ...]) -> bool:
    known = {span.id for span in spans}
    roots = [span for span in spans if span.parent not in known]
    return len(roots) == 1 and {_app(span) for span in spans} == _SERVICES


def _app(span: Span) -> str:
    """Return the application whose proxy made ``span``, without its version and namespace."""
    return span.service.partition(".")[0].partition("-")[0]
