"""Damaged requests over real connections: whatever comes, no stream ends by a fault of ours, and the others go on (T24)."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import grpc
import grpc.aio
import pytest

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, VHDS
from tests.support.control_plane import ADS, NODE, control_plane, delta, delta_request, next_delta, sotw_request
from tests.support.manifests import selecting, workload
from tests.support.proofs import cases, seed

RawMethod = grpc.aio.StreamStreamMultiCallable[bytes, bytes]
STREAMS = cases(150)


async def test_t24_damaged_requests_bring_out_no_fault_of_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "reviews.yaml").write_text(f"{selecting('reviews', 'reviews')}---\n{workload('r1', 'reviews')}")
    chance = random.Random(seed())
    codes: dict[grpc.StatusCode, int] = {}

    async with control_plane(tmp_path) as running, delta(running.at.xds) as good, grpc.aio.insecure_channel(running.at.xds) as channel:
        await good.write(delta_request(CDS, node=NODE))
        first = await next_delta(good)
        await good.write(delta_request(CDS, nonce=first.nonce))
        for _ in range(STREAMS):
            wire = chance.choice(("Stream", "Delta"))
            method: RawMethod = channel.stream_stream(f"{ADS}/{wire}AggregatedResources")
            call = method()
            try:
                await call.write(_request(chance, wire, NODE))
                for _ in range(chance.randrange(6)):
                    await call.write(_damaged(chance, _request(chance, wire, "")))
                await call.done_writing()
                async for _ in call:
                    pass
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                pass  # the server has ended the stream already
            code = await call.code()
            codes[code] = codes.get(code, 0) + 1
        (tmp_path / "more.yaml").write_text(selecting("ratings", "ratings"))
        news = await next_delta(good)

    print({code.name: count for code, count in codes.items()})
    assert [each.name for each in news.resources] == ["outbound|80||ratings.shop.svc.cluster.local"]
    assert "stream failed" not in caplog.text
    assert codes[grpc.StatusCode.OK] > STREAMS // 10  # damage that still is a message is worked on, not only refused


def _request(chance: random.Random, wire: str, node: str) -> bytes:
    type_url = chance.choice((CDS, EDS, LDS, RDS, VHDS, "a.type/of.Nobody"))
    names = tuple(
        chance.choice(("*", "", "80", "a/b:80", "outbound|80||reviews.shop.svc.cluster.local", "no\u00e9"))
        for _ in range(chance.randrange(4))
    )
    nonce = chance.choice(("", "1", "2", "99"))
    if wire == "Stream":
        request = sotw_request(type_url, node=node, nonce=nonce, version=chance.choice(("", "1")), names=names)
        if chance.random() < 0.3:
            request.error_detail.message = "x" * chance.randrange(50)
        return request.SerializeToString()
    change = delta_request(type_url, node=node, nonce=nonce, names=names)
    change.resource_names_unsubscribe.extend(names[::-1][: chance.randrange(3)])
    change.initial_resource_versions.update(dict.fromkeys(names, "1"))
    if chance.random() < 0.3:
        change.error_detail.code = chance.randrange(20)
    return change.SerializeToString()


def _damaged(chance: random.Random, request: bytes) -> bytes:
    damaged = bytearray(request)
    for _ in range(chance.randrange(3)):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    return bytes(damaged)
