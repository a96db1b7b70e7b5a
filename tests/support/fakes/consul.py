"""A double of Consul's HTTP API, for faults that a real one cannot be brought to: it answers as Consul 1.14 was seen to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeAlias

from aiohttp import web

from controlplane.untyped import Json, section, text
from tests.support.consul.api import ConsulApi
from tests.support.processes import free_port

Row: TypeAlias = dict[str, object]
_FIRST_INDEX = 13  # of a server that has just started
_STATUSES = {"pass": "passing", "warn": "warning", "fail": "critical"}


class ConsulDouble:
    """One agent, what is registered with it, and the faults that it has."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = ConsulApi(self.url)
        self.status = 0  # with which every question about the catalog is answered; 0: well
        self.delay_s = 0.0
        self.leader = True
        self.token = ""  # without which nobody is answered
        self.max_connections = 200
        self.connections: set[object] = set()
        self.most_connections = 0
        self.asked = 0
        self._runner: web.AppRunner | None = None
        self._changed = asyncio.Event()
        self._reset()

    async def start(self) -> None:
        """Begin to listen."""
        app = web.Application(middlewares=[self._guard], client_max_size=1 << 24)
        app.router.add_route("GET", "/v1/status/leader", self._leader)
        app.router.add_route("GET", "/v1/catalog/services", self._catalog)
        app.router.add_route("GET", "/v1/health/state/any", self._state)
        app.router.add_route("GET", "/v1/health/service/{name}", self._health)
        app.router.add_route("GET", "/v1/config/{kind}", self._entries)
        app.router.add_route("PUT", "/v1/config", self._put_entry)
        app.router.add_route("PUT", "/v1/agent/service/register", self._register)
        app.router.add_route("PUT", "/v1/agent/service/deregister/{id}", self._deregister)
        app.router.add_route("PUT", "/v1/agent/service/maintenance/{id}", self._maintain)
        app.router.add_route("PUT", "/v1/agent/check/{what}/{check}", self._check)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """End, and cut all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def restart(self) -> None:
        """Come back without any state."""
        await self.stop()
        self._reset()
        await self.start()

    def register(self, service: Row, *, node: str = "n1") -> None:
        """Register ``service`` as Consul's API has it, at ``node``."""
        name, known = text(service, "Name"), text(service, "ID") or text(service, "Name")
        self._by_name.setdefault(name, {})[node, known] = None
        self._services[node, known] = {
            "ID": known,
            "Service": name,
            "Tags": service.get("Tags") or [],
            "Address": text(service, "Address"),
            "Port": service.get("Port", 0),
            "Meta": service.get("Meta") or {},
            "Weights": service.get("Weights") or {"Passing": 1, "Warning": 1},
        }
        if check := section(service, "Check"):
            self.set_check(node, known, f"service:{known}", text(check, "Status") or "critical")
        self._count("services", name)

    def deregister(self, known: str, *, node: str = "n1") -> None:
        """Take an instance out, and its checks."""
        service = self._services.pop((node, known), None)
        for key in self._checks_of.pop((node, known), {}):
            del self._checks[key]
            self._count("checks")
        if service is not None:
            name = str(service["Service"])
            del self._by_name[name][node, known]
            self._count("services", name)

    def set_check(self, node: str, known: str, check: str, status: str) -> None:
        """Give the check of an instance a status."""
        name = str(self._services[node, known]["Service"])
        row: Row = {"Node": node, "CheckID": check, "Status": status, "ServiceID": known, "ServiceName": name}
        if self._checks.get((node, check)) != row:
            self._checks[node, check] = row
            self._checks_of.setdefault((node, known), {})[node, check] = None
            self._count("checks", name)

    def _reset(self) -> None:
        self._services: dict[tuple[str, str], Row] = {}
        self._checks: dict[tuple[str, str], Row] = {}
        self._by_name: dict[str, dict[tuple[str, str], None]] = {}  # the services by name, as nodes and ids
        self._checks_of: dict[tuple[str, str], dict[tuple[str, str], None]] = {}  # by node and id of the service
        self._config: dict[tuple[str, str], Row] = {}
        self._index = _FIRST_INDEX
        self._indexes: dict[str, int] = {}

    def _count(self, *topics: str) -> None:
        self._index += 1
        for topic in topics:
            self._indexes[topic] = self._index
        self._changed.set()
        self._changed = asyncio.Event()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable[[web.Request], object]) -> web.StreamResponse:
        self.connections = {each for each in self.connections if not each.is_closing()}  # type: ignore[attr-defined]  # transports
        known = request.transport in self.connections
        if request.method == "GET":
            self.asked += 1
            if not known and len(self.connections) >= self.max_connections:
                answer = web.Response(status=429, text="Your IP is issuing too many concurrent connections, please rate limit your calls\n")
                answer.force_close()
                return answer
            self.connections.add(request.transport)
            self.most_connections = max(self.most_connections, len(self.connections))
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            if self.token and request.headers.get("X-Consul-Token") != self.token:
                return web.Response(status=403, text="ACL not found")
            if self.status:
                return web.Response(status=self.status, text="No cluster leader")
        found = await handler(request)  # type: ignore[misc]  # a handler of aiohttp
        assert isinstance(found, web.StreamResponse)
        return found

    async def _answer(self, request: web.Request, topic: str, rows: Callable[[], object]) -> web.Response:
        wanted = int(request.query.get("index", "0"))
        loop = asyncio.get_running_loop()
        ends = loop.time() + float(request.query.get("wait", "300s").removesuffix("s"))
        while wanted and self._indexes.get(topic, _FIRST_INDEX) <= wanted and loop.time() < ends and not self.status:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ends - loop.time()):
                    await self._changed.wait()
        headers = {
            "X-Consul-Index": str(self._indexes.get(topic, _FIRST_INDEX)),
            "X-Consul-KnownLeader": str(self.leader).lower(),
            "X-Consul-LastContact": "0",
        }
        return web.json_response(rows(), headers=headers)

    async def _leader(self, _request: web.Request) -> web.Response:
        return web.json_response("127.0.0.1:8300" if self.leader else "")

    async def _catalog(self, request: web.Request) -> web.Response:
        def rows() -> object:
            tags: dict[str, set[str]] = {"consul": set()}
            for service in self._services.values():
                own = service["Tags"]
                tags.setdefault(str(service["Service"]), set()).update(own if isinstance(own, list) else ())
            return {name: sorted(own) for name, own in tags.items()}

        return await self._answer(request, "services", rows)

    async def _state(self, request: web.Request) -> web.Response:
        assert request.query.get("filter") in (None, 'Status != "passing"')
        only = "filter" in request.query
        return await self._answer(
            request, "checks", lambda: [check for check in self._checks.values() if not only or check["Status"] != "passing"]
        )

    async def _health(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return await self._answer(request, name, lambda: list(self._rows(name)))

    def _rows(self, name: str) -> Iterator[Json]:
        for node, known in self._by_name.get(name, ()):
            checks = [self._checks[key] for key in self._checks_of.get((node, known), ())]
            place = {"Node": node, "Address": "127.0.0.1", "Datacenter": "dc1", "Meta": {}}
            yield {"Node": place, "Service": self._services[node, known], "Checks": checks}

    async def _entries(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        return await self._answer(request, f"config {kind}", lambda: [row for key, row in self._config.items() if key[0] == kind])

    async def _put_entry(self, request: web.Request) -> web.Response:
        entry = await request.json()
        self._config[entry["Kind"], entry["Name"]] = entry
        self._count(f"config {entry['Kind']}")
        return web.json_response(data=True)

    async def _register(self, request: web.Request) -> web.Response:
        self.register(await request.json())
        return web.Response()

    async def _deregister(self, request: web.Request) -> web.Response:
        self.deregister(request.match_info["id"])
        return web.Response()

    async def _maintain(self, request: web.Request) -> web.Response:
        known = request.match_info["id"]
        check = f"_service_maintenance:{known}"
        if request.query["enable"] == "true":
            self.set_check("n1", known, check, "critical")
        elif self._checks.pop(("n1", check), None) is not None:
            del self._checks_of["n1", known]["n1", check]
            self._count("checks", str(self._services["n1", known]["Service"]))
        return web.Response()

    async def _check(self, request: web.Request) -> web.Response:
        check = request.match_info["check"]
        self.set_check("n1", check.removeprefix("service:"), check, _STATUSES[request.match_info["what"]])
        return web.Response()


@contextlib.asynccontextmanager
async def consul_double() -> AsyncIterator[ConsulDouble]:
    """Yield a double that listens until the block ends."""
    double = ConsulDouble()
    await double.start()
    try:
        yield double
    finally:
        await double.stop()
        await double.api.close()
