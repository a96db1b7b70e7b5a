"""A connection that has become too old: its Envoy comes again on another, and neither takes that for an error."""

from __future__ import annotations

from pathlib import Path

from tests.support.single_envoy import SingleEnvoy, single_envoy
from tests.support.waiting import until

AGE_S = 4.0
TIMES = 3


async def connections(web: SingleEnvoy) -> set[int]:
    """Return the numbers of the streams that the control plane has."""
    rows = await web.plane.running.json("/v1/proxies")
    assert isinstance(rows, list)
    return {each["connection"] for row in rows for each in row["connections"]}


async def test_an_envoy_comes_again_on_a_new_connection_without_an_error(tmp_path: Path) -> None:
    async with single_envoy(tmp_path, age_s=AGE_S) as web:
        process = await web.start()
        await web.until_ready()
        seen: list[set[int]] = [await connections(web)]
        opened = await web.stat("cluster.xds-grpc.upstream_cx_total")

        async def another() -> bool:
            found = await connections(web)
            return bool(found) and found.isdisjoint(set().union(*seen))

        for _ in range(TIMES):
            await until(another, "the Envoy has come again", watched=process)
            await until(web.connected, "it takes itself for connected", watched=process)
            seen.append(await connections(web))
        opened = await web.stat("cluster.xds-grpc.upstream_cx_total") - opened
        ended = [await web.stat(f"cluster.xds-grpc.{name}") for name in ("upstream_rq_pending_failure_eject", "upstream_rq_rx_reset")]
        log = process.log.read_text()

    print(f"{len(seen)} streams, {opened} connections more; Envoy said:\n{log}")
    assert opened >= TIMES
    assert ended == [0, 0]
    assert [line for line in log.splitlines() if "closed" in line and "gRPC" in line] == []
