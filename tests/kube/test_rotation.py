"""A new root for a cluster, step by step, while a proxy is slow to accept: what each step waits for, with two replicas."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from controlplane.envoy.type_urls import SDS
from tests.support.ca_command import as_written, navarch_ca
from tests.support.cluster import Cluster
from tests.support.control_plane import next_delta
from tests.support.kube_control_plane import identities
from tests.support.page_commands import commands
from tests.support.pod_proxies import Workload, ads
from tests.support.secure_control_plane import asking
from tests.support.waiting import until

PAGE = (Path(__file__).parents[2] / "docs" / "install.md").read_text()


async def waits_for(cluster: Cluster) -> list[str]:
    status, said = await navarch_ca(cluster, "show", "-o", "json")
    assert status == 0, said
    found = json.loads(said)["waitingFor"]
    assert isinstance(found, list)
    return found


async def test_each_step_waits_for_a_proxy_that_has_not_accepted_and_says_so(home: Cluster) -> None:
    workload = Workload.made(home, "rotating", "client")

    async def waits(words: str) -> bool:
        return await waits_for(home) == ([words] if words else [])

    async def done(step: str) -> bool:
        return (await navarch_ca(home, step))[0] == 0

    async with identities(home, "one") as one, identities(home, "two"), ads(one, workload.token()) as call:
        await call.write(asking(SDS, workload.node(), "default", "ROOTCA"))
        first = await next_delta(call)
        await call.write(asking(SDS, nonce=first.nonce))

        assert (await navarch_ca(home, "prepare"))[0] == 0
        bundle = await next_delta(call)
        assert [each.name for each in bundle.resources] == ["ROOTCA"]
        await until(lambda: waits("1 proxies to accept the new bundle"))
        status, said = await navarch_ca(home, "activate")
        assert (status, said) == (1, "navarch: 1 proxies have not accepted the new bundle yet\n")

        await call.write(asking(SDS, nonce=bundle.nonce))
        await until(lambda: waits(""))
        await until(lambda: done("activate"))
        leaf = await next_delta(call)
        assert [each.name for each in leaf.resources] == ["default"]
        await until(lambda: waits("1 proxies to have a certificate by the new root"))
        status, said = await navarch_ca(home, "retire")
        assert (status, said) == (1, "navarch: 1 proxies still have a certificate by the old root\n")

        await call.write(asking(SDS, nonce=leaf.nonce))
        await until(lambda: done("retire"))
        assert [each.name for each in (await next_delta(call)).resources] == ["ROOTCA"]


async def test_the_steps_of_the_page_rotate_as_they_are_written(home: Cluster) -> None:
    async def roots() -> object:
        return json.loads((await navarch_ca(home, "show", "-o", "json"))[1])["roots"]

    async def done(line: str) -> bool:
        return (await as_written(home, line))[0] == 0

    steps = [line for line in commands(PAGE) if line.startswith("navarch ca ")]
    async with identities(home, "one"):
        before = await roots()
        for line in steps:
            await until(partial(done, line), line)  # the replica has to have seen the step before

        assert [line.split()[2] for line in steps] == ["show", "prepare", "activate", "retire"]
        assert await roots() != before
