"""Proxies that are not let in: who reads the log, the metrics or the admin API finds them, with where they are and why."""

from __future__ import annotations

import logging
from pathlib import Path

import grpc
import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest
from google.protobuf.json_format import ParseDict

from controlplane.envoy.type_urls import CDS
from controlplane.serve.authn.authenticate import peer_host
from controlplane.serve.authn.refused_callers import AuthenticationFailure, RefusedCaller, RefusedCallers
from tests.support.control_plane import NODE, Running, control_plane, delta, next_delta, status_of
from tests.support.secure_control_plane import asking, node, secure, stream

BAD: dict[str, tuple[dict[str, object], str]] = {
    "a bad id": ({"id": "web-1"}, "node id 'web-1': expected sidecar~IP~POD.NAMESPACE~NAMESPACE.svc.cluster.local"),
    "none": ({}, "node id '': expected sidecar~IP~POD.NAMESPACE~NAMESPACE.svc.cluster.local"),
    "a list of labels": ({"id": NODE, "metadata": {"LABELS": ["app"]}}, "metadata LABELS: expected an object of strings"),
    "a bad mode": (
        {"id": NODE, "metadata": {"INTERCEPTION_MODE": "SOMETIMES"}},
        "metadata INTERCEPTION_MODE 'SOMETIMES': expected REDIRECT, TPROXY or NONE",
    ),
    "ztunnel": (
        {"id": NODE.replace("sidecar", "ztunnel")},
        f"node id '{NODE.replace('sidecar', 'ztunnel')}': expected sidecar~IP~POD.NAMESPACE~NAMESPACE.svc.cluster.local",
    ),
}


def first(who: dict[str, object]) -> DeltaDiscoveryRequest:
    request = DeltaDiscoveryRequest(type_url=CDS)
    ParseDict(who, request.node)
    return request


async def refused(running: Running) -> list[dict[str, object]]:
    found = await running.json("/v1/refused-callers")
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("bad", list(BAD))
async def test_a_node_that_is_refused_is_logged_counted_and_shown(tmp_path: Path, bad: str, caplog: pytest.LogCaptureFixture) -> None:
    who, reason = BAD[bad]
    async with control_plane(tmp_path) as running:
        for _ in range(3):
            async with delta(running.at.xds) as call:
                await call.write(first(who))
                assert await status_of(call) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
        async with delta(running.at.xds) as call:
            await call.write(first({"id": NODE}))
            await next_delta(call)
        [row] = await refused(running)
        _, metrics = await running.get("/metrics")

    assert {name: row[name] for name in ("address", "failure", "reason", "node", "identity", "times")} == {
        "address": "127.0.0.1",
        "failure": "bad_node",
        "reason": reason,
        "node": who.get("id", ""),
        "identity": None,
        "times": 3,
    }
    assert 'navarch_callers_refused_total{reason="bad_node"} 3.0' in metrics
    [line] = [vars(record) for record in caplog.records if record.message == "node refused"]
    assert (line["levelname"], line["address"], line["reason"]) == ("WARNING", "127.0.0.1", reason)


async def test_a_caller_that_is_denied_is_logged_counted_and_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    async with secure(folder) as plane:
        assert plane.running.at.xds_tls
        for token, who in ((None, None), ("a.b.c", None), (plane.token(), node("other"))):
            async with stream(plane.running.at.xds_tls, grpc.ssl_channel_credentials(plane.roots), token=token) as call:
                if who:
                    await call.write(asking(CDS, who))
                await status_of(call)
        rows = await refused(plane.running)
        _, metrics = await plane.running.get("/metrics")

    assert [(row["address"], row["failure"]) for row in rows] == [("127.0.0.1", name) for name in ("node", "token", "no_token")]
    assert rows[0]["identity"] == "spiffe://cluster.local/ns/default/sa/client"
    assert all(f'navarch_callers_refused_total{{reason="{name}"}} 1.0' in metrics for name in ("node", "token", "no_token"))
    lines = [vars(record) for record in caplog.records if record.message in {"caller denied", "node refused"}]
    assert [line["address"] for line in lines] == ["127.0.0.1"] * 3
    assert all(line["reason"] for line in lines)


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def caller(address: str, node: str = "n") -> RefusedCaller:
    return RefusedCaller(address=address, failure=AuthenticationFailure.BAD_NODE, reason="no", node=node)


def test_who_comes_again_and_again_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    found = RefusedCallers(clock)

    for _ in range(600):
        found.note(caller("10.0.0.1"))
        clock.now += 0.2

    lines = [vars(record)["times"] for record in caplog.records]
    [kept] = found.latest()
    assert lines == [1, 301]
    assert (kept.times, kept.first_at, found.counts[AuthenticationFailure.BAD_NODE]) == (600, 1000.0, 600)


def test_many_callers_cost_a_bounded_number_of_lines_and_rows(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    found = RefusedCallers(clock)

    for number in range(10_000):
        found.note(caller(f"10.0.{number // 256}.{number % 256}", node="x" * 100_000))
        clock.now += 0.001

    assert len(caplog.records) == 21
    assert caplog.records[-1].message == "more callers are refused than are told here"
    assert caplog.records[0].levelno == logging.WARNING
    rows = found.latest()
    assert (len(rows), rows[0].address, len(rows[0].node)) == (200, "10.0.39.15", 300)
    assert found.counts[AuthenticationFailure.BAD_NODE] == 10_000


@pytest.mark.parametrize(
    ("peer", "host"),
    [("ipv4:10.0.0.7:41202", "10.0.0.7"), ("ipv6:%5B::1%5D:41202", "::1"), ("ipv6:[fe80::1]:1", "fe80::1"), ("unix:", "unix:")],
)
def test_the_address_of_a_peer_is_without_its_port(peer: str, host: str) -> None:
    assert peer_host(peer) == host
