"""One real Envoy in a network namespace where every address is a local one: what it is sent is replaced, and whatever it sends ends at one
server, which tells the address that was contacted.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from google.protobuf.any_pb2 import Any as AnyMessage

from tests.support import network_namespaces as namespaces
from tests.support.processes import Process, envoy_binary, start
from tests.support.simulation.ads import Ads, serving
from tests.support.simulation.inner import SINK_PORT, Call, Result
from tests.support.waiting import DEADLINE_S, until

OUTBOUND, INBOUND = 15001, 15006
OUTBOUND_NETWORK, INBOUND_NETWORK = 250, 251  # below 10: whose connections leave the pod, and whose come to it
_ENVOY_GROUP = "1337"
_ROOT = Path(__file__).parents[3]
_WARMING = ("cluster_manager.warming_clusters", "listener_manager.total_listeners_warming")
_PROBE: Call = {
    "source": "10.250.255.1",
    "destination": "203.0.113.200",
    "port": 7,
    "kind": "silent",
    "server_name": "",
    "protocols": [],
    "method": "",
    "authority": "",
    "path": "",
    "headers": [],
    "certificate": "",
}


@dataclass
class Bed:
    """The Envoy, its clients, and its log."""

    folder: Path
    ads: Ads
    envoy: Process
    inner: asyncio.subprocess.Process
    admin: httpx.AsyncClient
    _read_to: int = 0
    entries: dict[str, list[dict[str, str]]] = field(default_factory=dict)  # of the access log, by the client's address

    @property
    def log(self) -> Path:
        """Return the access log."""
        return self.folder / "access.log"

    async def replace(self, resources: Mapping[str, Mapping[str, AnyMessage]]) -> list[str]:
        """Let ``resources`` be all that the Envoy has, wait until it has it, and return what it refused."""
        self.ads.refusals.clear()
        self.entries.clear()
        self.ads.replace(resources)  # which makes it the next version
        await until(self._settled, "the Envoy has all it was sent", watched=self.envoy)
        await until(self._in_force, "the Envoy handles connections by it", watched=self.envoy)
        return list(self.ads.refusals)

    async def call(self, calls: Sequence[Call]) -> list[Result]:
        """Make ``calls``, all at once."""
        assert self.inner.stdin is not None
        assert self.inner.stdout is not None
        self.inner.stdin.write(json.dumps(calls).encode() + b"\n")
        await self.inner.stdin.drain()
        line = await asyncio.wait_for(self.inner.stdout.readline(), DEADLINE_S)
        results: list[Result] = json.loads(line)
        return results

    def read_log(self) -> None:
        """Take in what the access log has grown by."""
        with self.log.open("rb") as log:
            log.seek(self._read_to)
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read_to += len(whole)
        for line in whole.splitlines():
            entry = json.loads(line)
            self.entries.setdefault(entry["client"], []).append(entry)

    async def _in_force(self) -> bool:
        """Return whether a connection is handled by what was sent last: threads that handle them are told later than the one that asks."""
        [result] = await self.call([_PROBE])
        client = f"{_PROBE['source']}:{result['port']}"

        def told() -> bool:
            self.read_log()
            return client in self.entries

        await until(told, "the log tells of the first connection", watched=self.envoy)
        return all(entry["version"] == str(self.ads.version) for entry in self.entries.pop(client))

    async def _settled(self) -> bool:
        if not self.ads.has_all():
            return False
        text = (await self.admin.get("http://envoy/stats", params={"filter": "warming"})).text
        return all(f"{name}: 0" in text for name in _WARMING) and self.ads.has_all()


@asynccontextmanager
async def bed(folder: Path) -> AsyncIterator[Bed]:
    """Yield an Envoy that has nothing yet."""
    name = f"nv{os.getpid()}-sim"
    ads = Ads()
    async with AsyncExitStack() as stack:
        stack.enter_context(namespaces.namespace(name))
        _everything_is_local(name)
        await stack.enter_async_context(serving(ads, folder / "xds.sock"))
        (folder / "access.log").touch()
        inner = await asyncio.create_subprocess_exec(
            *_within(name, sys.executable, "-m", "tests.support.simulation.inner"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=_ROOT,
            limit=2**24,
        )
        stack.push_async_callback(_ended, inner)
        options = ["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error", "--file-flush-interval-msec", "10"]
        options += ["--drain-time-s", "1", "--drain-strategy", "immediate"]
        command = ["setpriv", "--regid", _ENVOY_GROUP, "--clear-groups", envoy_binary(), "--config-yaml", json.dumps(_bootstrap(folder))]
        envoy = await start("envoy", _within(name, *command, *options), folder)
        stack.push_async_callback(envoy.stop, kill=True)
        transport = httpx.AsyncHTTPTransport(uds=str(folder / "admin.sock"))
        admin = await stack.enter_async_context(httpx.AsyncClient(transport=transport, timeout=DEADLINE_S))
        found = Bed(folder, ads, envoy, inner, admin)
        await until((folder / "admin.sock").exists, "Envoy has started", watched=envoy)
        yield found


def _within(name: str, *command: str) -> list[str]:
    return ["ip", "netns", "exec", name, *command]


async def _ended(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


def _everything_is_local(name: str) -> None:
    """Make every address one of the namespace ``name``, and bring connections where they are to come."""
    namespaces.batch(name, ["route add local 0.0.0.0/0 dev lo"])
    nat = ("ip", "netns", "exec", name, "iptables", "-t", "nat", "-A", "OUTPUT", "-p", "tcp")
    namespaces.run(*nat, "-m", "owner", "--gid-owner", _ENVOY_GROUP, "-j", "REDIRECT", "--to-ports", str(SINK_PORT))
    namespaces.run(*nat, "-s", f"10.{OUTBOUND_NETWORK}.0.0/16", "-j", "REDIRECT", "--to-ports", str(OUTBOUND))
    namespaces.run(*nat, "-s", f"10.{INBOUND_NETWORK}.0.0/16", "-j", "REDIRECT", "--to-ports", str(INBOUND))


def _bootstrap(folder: Path) -> dict[str, object]:
    ads = {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]}
    http2: dict[str, object] = {"explicit_http_config": {"http2_protocol_options": {}}}
    options = {"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions", **http2}
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(folder / "xds.sock")}}}}
    xds = {
        "name": "xds",
        "type": "STATIC",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    everything = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": {"id": "simulated", "cluster": "simulated"},
        "admin": {"address": {"pipe": {"path": str(folder / "admin.sock")}}},
        "dynamic_resources": {"ads_config": ads, "cds_config": everything, "lds_config": everything},
        "static_resources": {"clusters": [xds]},
        "layered_runtime": {"layers": [{"name": "fixed", "static_layer": {"re2.max_program_size.error_level": 32768}}]},
    }
