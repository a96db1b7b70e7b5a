"""When a change has come to everybody is told neither early nor never, whether proxies accept it at once, late, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx

from controlplane.envoy.type_urls import CDS
from tests.support.control_plane import DeltaCall, Running, control_plane, delta, delta_request, next_delta
from tests.support.proofs import cases, seed
from tests.support.shop import SHOP
from tests.support.waiting import DEADLINE_S

CHANGES = 10  # in `make test`
CLUSTER = "outbound|80||web.shop.svc.cluster.local"
RULE = """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: limits, namespace: shop}}
spec: {{host: web, trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: {number}}}}}}}}}
"""
_HEAD = "kind: DestinationRule\nmetadata: {{name: web, namespace: {0}}}"
WITHOUT_RULE = SHOP.replace(_HEAD.format("shop"), _HEAD.format("other"))


@dataclass
class Proxy:
    """A client that answers each response after a while, which is set for each change; ``refuses``: it does not accept it."""

    call: DeltaCall
    after_s: float = 0.0
    refuses: bool = False
    go: asyncio.Event = field(default_factory=asyncio.Event)
    answered: int = 0  # responses with the cluster

    async def run(self) -> None:
        """Answer, until the stream ends."""
        while True:
            response = await next_delta(self.call)
            mine = any(resource.name == CLUSTER for resource in response.resources)
            if mine:
                await asyncio.sleep(self.after_s)
                await self.go.wait()
            answer = delta_request(CDS, nonce=response.nonce)
            if mine and self.refuses:
                answer.error_detail.message = "not this one"
            self.answered += mine and not self.refuses
            await self.call.write(answer)


@contextlib.asynccontextmanager
async def proxies(running: Running, count: int) -> AsyncIterator[list[Proxy]]:
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for number in range(count):
            call = await stack.enter_async_context(delta(running.at.xds))
            await call.write(delta_request(CDS, node=f"sidecar~10.0.1.{number}~client-{number}.default~default.svc.cluster.local"))
            found.append(Proxy(call))
        tasks = [asyncio.create_task(proxy.run()) for proxy in found]
        try:
            yield found
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_change_is_programmed_when_the_last_proxy_has_accepted_it(tmp_path: Path) -> None:
    random = Random(seed())
    shop, rule = tmp_path / "shop.yaml", tmp_path / "rule.yaml"
    shop.write_text(WITHOUT_RULE)
    rule.write_text(RULE.format(number=1))
    async with (
        control_plane(tmp_path) as running,
        proxies(running, 4) as found,
        httpx.AsyncClient(base_url=f"http://{running.at.admin}/v1", timeout=DEADLINE_S) as client,
    ):
        await told(client, RULE.format(number=1), found, let_go=found)
        for number in range(2, 2 + cases(CHANGES)):
            refusing = random.random() < 0.2
            for proxy in found:
                proxy.after_s, proxy.refuses = random.choice((0.0, 0.0, random.random() / 10)), False
            found[0].refuses = refusing
            text = RULE.format(number=number)
            rule.write_text(text)
            await told(client, text, found, let_go=random.sample(found, len(found)), refused=refusing)


async def told(client: httpx.AsyncClient, text: str, found: list[Proxy], let_go: list[Proxy], *, refused: bool = False) -> None:
    """Look all the time, while one after the other of ``let_go`` goes on: programmed when all have accepted, and not before."""
    before = [proxy.answered for proxy in found]
    for proxy in found:
        proxy.go.clear()
    left = list(let_go)
    async with asyncio.timeout(DEADLINE_S):
        while True:
            [row] = (await client.post("/standings", content=text)).json()["objects"]
            accepted = all(proxy.answered > at for proxy, at in zip(found, before, strict=True))
            assert accepted or not row["programmed"], row  # who answers after the question may make it true, but nobody before
            if row["programmed"] or (refused and row["refusals"] and not left and not row["waiting"]):
                break
            if row["accepted"] and left and row["needed"] == len(found):
                waited_for = {each["proxy"].split("~")[1] for each in row["waiting"]}
                assert {f"10.0.1.{found.index(proxy)}" for proxy in left} <= waited_for, row
                left.pop().go.set()
    assert row["programmed"] is not refused
    if refused:
        assert "client-0.default" in row["refusals"][0]["proxy"]
