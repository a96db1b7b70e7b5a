"""The story: one step a claim, each measured on the running mesh."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import AsyncIterator, Mapping

from controlplane.demo.apps import answers_plaintext
from controlplane.demo.claims import DemoClaim, is_plausible_share
from controlplane.demo.consul.server import ManifestsBesideConsul
from controlplane.demo.consul.step import registered
from controlplane.demo.gateway import HOST
from controlplane.demo.gateway import NAME as GATEWAY
from controlplane.demo.load import PAGE, RATINGS, REVIEWS, LoadGenerator, SteadyLoad
from controlplane.demo.mesh import (
    ENDPOINTS,
    HOSTS,
    LISTENERS,
    DemoMesh,
    running_reviews,
)
from controlplane.demo.observability.steps import STEPS as OBSERVED
from controlplane.demo.observability.steps import Step
from controlplane.demo.processes import PATIENCE_S, NotReady, until
from controlplane.demo.stores import ClusterManifests, ManifestStore
from controlplane.demo.templates import broken_manifest, gateway_manifest, peer_authentication_manifest


def _destination(subset: str, weight: int = 100) -> dict[str, object]:
    return {"destination": {"host": "reviews", "subset": subset}, "weight": weight}


def _rule(*routes: Mapping[str, object], **more: object) -> dict[str, object]:
    return {"route": list(routes), **more}


async def traffic(world: DemoMesh) -> DemoClaim:
    """Show that a page is made by four services, each call through two Envoys."""
    tally = await world.caller.many(PAGE, 20)
    figures = {"requests": tally.total, "failed": tally.failed, "envoys": len(world.envoys)}
    proof = f"{tally.total} pages, {tally.failed} failed, over {len(world.envoys)} Envoys, each the only owner of its ports"
    return DemoClaim("traffic flows", tally.failed == 0 and tally.total == 20, proof, figures)


async def canary(world: DemoMesh) -> DemoClaim:
    """Show 90/10 between two versions."""
    await world.accepted(world.route("reviews", [_rule(_destination("v1", 90), _destination("v2", 10))]), HOSTS)
    tally = await world.caller.many(REVIEWS, 1000)
    v2 = tally.versions["v2"]
    held = tally.failed == 0 and tally.versions["v1"] + v2 == tally.total and is_plausible_share(v2, tally.total, 10)
    return DemoClaim(
        "a 90/10 canary", held, f"{tally.versions['v1']} to v1, {v2} to v2 of {tally.total}", {"requests": tally.total, "v2": v2}
    )


async def live_edit(world: DemoMesh) -> DemoClaim:
    """Edit under load: how long from the save to the last Envoy's ACK, and what the load saw of it."""
    async with SteadyLoad(world.caller, REVIEWS, per_second=100) as load:
        took = await world.accepted(world.route("reviews", [_rule(_destination("v1", 50), _destination("v2", 50))]), HOSTS)
    tally = await world.caller.many(REVIEWS, 400)
    v2 = tally.versions["v2"]
    held = tally.failed == 0 and load.tally.failed == 0 and is_plausible_share(v2, tally.total, 50)
    proof = f"{took:.0f} ms from {world.store.done} to the last ACK; then {v2} of {tally.total} to v2, {load.tally.failed} failed meanwhile"
    return DemoClaim("a live edit to 50/50", held, proof, {"milliseconds": round(took, 1), "v2": v2, "requests": tally.total})


async def header_match(world: DemoMesh) -> DemoClaim:
    """Show that one user sees the new version, everybody else the old."""
    jason = {"headers": {"end-user": {"exact": "jason"}}}
    await world.accepted(world.route("reviews", [_rule(_destination("v2"), match=[jason]), _rule(_destination("v1"))]), HOSTS)
    his, others = await world.caller.many(REVIEWS, 50, {"end-user": "jason"}), await world.caller.many(REVIEWS, 50)
    held = his.versions == {"v2": 50} and others.versions == {"v1": 50}
    return DemoClaim("a header match", held, f"jason: {his.versions['v2']} of 50 to v2; others: {others.versions['v1']} of 50 to v1")


async def timeout(world: DemoMesh) -> DemoClaim:
    """Show that a slow instance is not waited for longer than the route says."""
    ratings = {"destination": {"host": "ratings"}}
    world.instances["ratings-v1"].delay_s = 3.0
    await world.accepted(world.route("ratings", [_rule(ratings, timeout="0.3s")]), HOSTS)
    tally = await world.caller.many(RATINGS, 12)
    world.instances["ratings-v1"].delay_s = 0.0
    await world.accepted(world.route("ratings", [_rule(ratings)]), HOSTS)  # what follows may take longer, on a busy machine
    median = statistics.median(tally.seconds) if tally.seconds else 0.0
    held = tally.statuses == {504: 12} and 0.25 < median < 1.5
    proof = f"{tally.statuses[504]} of 12 answered 504 after {median * 1000:.0f} ms by an instance that takes 3 s"
    return DemoClaim("a timeout of 300 ms", held, proof, {"milliseconds": round(median * 1000, 1)})


async def retry(world: DemoMesh) -> DemoClaim:
    """Show that a failing instance is hidden by tries elsewhere."""
    failing = world.instances["reviews-v3"]
    failing.status = 503
    rule = _rule({"destination": {"host": "reviews"}}, retries={"attempts": 3, "retryOn": "5xx", "perTryTimeout": "2s"})
    await world.accepted(world.route("reviews", [rule]), HOSTS)
    before = failing.requests
    tally = await world.caller.many(REVIEWS, 200)
    tried = failing.requests - before
    failing.status = 200
    held = tally.failed == 0 and tried > 0
    proof = f"{tally.failed} of {tally.total} failed, though v3 was tried {tried} times and answered 503 each time"
    return DemoClaim("a retry", held, proof, {"requests": tally.total, "failed": tally.failed, "hidden": tried})


async def mirror(world: DemoMesh) -> DemoClaim:
    """Show that another version gets a copy of every request, and answers nobody."""
    shadow = world.instances["reviews-v3"]
    rule = _rule(_destination("v1"), mirror={"host": "reviews", "subset": "v3"}, mirrorPercentage={"value": 100.0})
    await world.accepted(world.route("reviews", [rule]), HOSTS)
    before = shadow.requests
    tally = await world.caller.many(REVIEWS, 100)

    async def copied() -> bool:
        return shadow.requests - before >= tally.total

    with contextlib.suppress(NotReady):  # a copy may arrive after the answer; too few are counted below
        await until("the copies", copied, seconds=PATIENCE_S)
    copies = shadow.requests - before
    held = tally.versions == {"v1": 100} and copies == 100
    return DemoClaim("a mirror", held, f"100 answered by v1, {copies} copies at v3", {"requests": tally.total, "copies": copies})


async def fault(world: DemoMesh) -> DemoClaim:
    """Show that aborts are injected at the rate that is asked for."""
    rule = _rule(_destination("v1"), fault={"abort": {"httpStatus": 418, "percentage": {"value": 30.0}}})
    await world.accepted(world.route("reviews", [rule]), HOSTS)
    tally = await world.caller.many(REVIEWS, 300)
    aborted = tally.statuses[418]
    held = is_plausible_share(aborted, tally.total, 30) and aborted + tally.statuses[200] == tally.total
    return DemoClaim(
        "a fault for 30 %", held, f"{aborted} of {tally.total} aborted with 418", {"requests": tally.total, "aborted": aborted}
    )


async def removal(world: DemoMesh) -> DemoClaim:
    """Show that an instance leaves under load, and nobody notices."""
    await world.accepted(world.route("reviews", [_rule({"destination": {"host": "reviews"}})]), HOSTS)
    leaving = world.instances["reviews-v3"]
    async with SteadyLoad(world.caller, REVIEWS, per_second=150) as load:
        await load.at_least(100)
        remaining = [instance for instance in running_reviews(world) if instance is not leaving]
        took = await world.accepted(world.place("reviews", remaining), ENDPOINTS)
        last = -1
        while leaving.requests != last:  # Envoy's workers are later than its ACK, on a busy machine by much
            last = leaving.requests
            await load.at_least(load.tally.total + 60)
            await load.answered()
        await world.remove(leaving.name)
        await load.at_least(load.tally.total + 100)
    tally = load.tally
    held = tally.failed == 0 and last > 0
    proof = f"{tally.failed} of {tally.total} requests failed; out of every Envoy {took:.0f} ms after {world.store.done}"
    return DemoClaim("an instance removed under load", held, proof, {"requests": tally.total, "failed": tally.failed})


async def strict(world: DemoMesh) -> DemoClaim:
    """Show that with mutual TLS asked for, who shows no certificate is refused, and everybody else is who their certificate says."""
    called = world.instances["reviews-v1"]
    await world.accepted(world.route("reviews", [_rule(_destination("v1"))]), HOSTS)
    before = await answers_plaintext(called.ip)
    async with SteadyLoad(world.caller, REVIEWS, per_second=100) as load:
        await load.at_least(20)
        await world.accepted(world.store.save("peers", peer_authentication_manifest("STRICT")), LISTENERS)
        called.callers.clear()
        refused = not await answers_plaintext(called.ip)
        await load.at_least(load.tally.total + 50)
    callers = dict(called.callers)
    wanted = f"spiffe://cluster.local/ns/{world.store.namespace}/sa/productpage"
    held = before and refused and load.tally.failed == 0 and callers.keys() == {wanted}
    proof = (
        f"without a certificate: {'refused' if refused else 'NOT REFUSED'}; {load.tally.failed} of {load.tally.total} failed meanwhile, "
    )
    return DemoClaim("mutual TLS alone", held, proof + f"all by {', '.join(callers) or 'nobody'}", {"requests": load.tally.total})


async def outside(world: DemoMesh) -> DemoClaim:
    """Show that clients outside get in through the gateway, by TLS alone, to the hosts that it is for."""
    gateway = world.gateway
    if gateway is None:
        raise NotReady("there is no gateway in front of this mesh")
    page = world.instances["productpage-v1"]
    page.callers.clear()
    await world.store.may_have_secrets(GATEWAY)
    await world.store.save("certificate", await gateway.certificate())
    took = await world.accepted(world.store.save("front", gateway_manifest(gateway)), LISTENERS, by="router")
    await until("the gateway listens", gateway.listens, seconds=PATIENCE_S, watched=gateway.process)
    client = gateway.client(gateway.trusted())
    caller = LoadGenerator(client)
    try:
        tally = await caller.many(f"https://{HOST}/productpage", 100)
        sent_on = await client.get(f"http://{HOST}/productpage")
        elsewhere = await client.get(f"https://{HOST}/productpage", headers={"host": "other.example"})
    finally:
        await caller.close()
    wanted = f"spiffe://cluster.local/ns/{world.store.namespace}/sa/ingress"
    moved = sent_on.status_code == 301 and sent_on.headers["location"] == f"https://{HOST}/productpage"
    held = tally.failed == 0 and page.callers == {wanted: tally.total} and moved and elsewhere.status_code == 404
    proof = f"{tally.total - tally.failed} of {tally.total} by HTTPS, {took:.0f} ms after {world.store.done}, to productpage, which saw "
    proof += f"{', '.join(page.callers) or 'nobody'}; by plain HTTP {sent_on.status_code}, another host {elsewhere.status_code}"
    return DemoClaim("in through a gateway", held, proof, {"requests": tally.total, "milliseconds": round(took, 1)})


async def broken(world: DemoMesh) -> DemoClaim:
    """Show that a manifest that cannot be right changes nothing, and is named."""
    before = await world.proxies()
    await world.store.save("broken", broken_manifest())
    rows: list[dict[str, object]] = []

    async def reported() -> bool:
        rows[:] = [row for row in await world.problems() if row["severity"] == "error"]
        return bool(rows)

    with contextlib.suppress(NotReady):
        await until("the Problem", reported, seconds=PATIENCE_S)
    tally = await world.caller.many(PAGE, 20)
    same = [_sent(row) for row in before] == [_sent(row) for row in await world.proxies()]
    held = tally.failed == 0 and same and bool(rows)
    where = _where(rows[0]) if rows else "not named"
    return DemoClaim("a broken manifest", held, f"{where}; {'nothing' if same else 'SOMETHING'} was sent, {tally.failed} requests failed")


async def status(world: DemoMesh) -> DemoClaim:
    """Show that the objects themselves say what became of them, at an API server."""
    store = world.store
    if not isinstance(store, ClusterManifests):
        raise NotReady("only an API server keeps a status")
    await world.accepted(world.route("reviews", [_rule(_destination("v2"))]), HOSTS)
    everybody = f"{len(world.envoys)} of {len(world.envoys)} proxies"
    good: Mapping[str, object] = {}
    bad: Mapping[str, object] = {}

    async def reported() -> bool:
        nonlocal good, bad
        good = (await store.conditions("virtualservice", "reviews")).get("Programmed", {})
        bad = (await store.conditions("virtualservice", "details")).get("Accepted", {})
        return (good.get("status"), good.get("message"), bad.get("status")) == ("True", everybody, "False")

    with contextlib.suppress(NotReady):
        await until("the status", reported, seconds=PATIENCE_S)
    proof = (
        f"reviews is Programmed {good.get('status')}: {good.get('message')}; details is Accepted {bad.get('status')}: {bad.get('message')}"
    )
    return DemoClaim("status on the objects", await reported(), proof, {"proxies": len(world.envoys)})


STEPS: tuple[Step, ...] = (traffic, canary, live_edit, header_match, timeout, retry, mirror, fault, removal, strict, outside)


def steps(store: ManifestStore) -> tuple[Step, ...]:
    """Return what is shown of manifests kept in ``store``; the settings of a cluster's mesh are not the demo's to change."""
    match store:
        case ClusterManifests():
            return (*STEPS, broken, status)
        case ManifestsBesideConsul():
            return (*STEPS, *OBSERVED, broken, registered)
        case _:
            return (*STEPS, *OBSERVED, broken)


async def run_story(world: DemoMesh) -> AsyncIterator[DemoClaim]:
    """Yield the claims, one after the other, as they are measured on ``world``."""
    for step in steps(world.store):
        yield await step(world)


def _where(row: Mapping[str, object]) -> str:
    place = f"{str(row['file']).rpartition('/')[2]}:{row['line']}" if row["file"] else row["object"]
    return f"{place} {row['field']}: {row['message']}"


def _sent(row: dict[str, object]) -> list[tuple[object, object]]:
    connections = row["connections"]
    streams = connections if isinstance(connections, list) else []
    return [(status["typeUrl"], status["sent"]) for stream in streams for status in stream["types"]]
