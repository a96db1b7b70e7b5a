"""The workloads: bookinfo's shape as tiny HTTP apps, whose behaviour the story changes while they run."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field

import httpx

from controlplane.admin.http_server import HttpServer
from controlplane.demo.processes import PATIENCE_S

APP_PORT = 8000
SERVICE_PORT = 9080
PROXY_PORT = 15002
# What an application passes on: the user, and the headers of a trace, without which no proxy could tell which calls belong together.
_TRACE = ("x-request-id", "traceparent", "tracestate", "b3", *(f"x-b3-{name}" for name in ("traceid", "spanid", "parentspanid", "sampled")))
_FORWARDED = frozenset(("end-user", *_TRACE))
_CERTIFICATE = "x-forwarded-client-cert"

Message = MutableMapping[str, object]


@dataclass
class AppInstance:
    """One instance of a workload: how it behaves now, and what it has seen."""

    name: str
    app: str
    version: str
    ip: str
    calls: tuple[str, ...] = ()  # URLs that it asks, through its own sidecar, before it answers
    delay_s: float = 0.0
    status: int = 200
    requests: int = 0
    callers: Counter[str] = field(default_factory=Counter)  # requests by the identity that their certificate said; empty: none

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels of its pod."""
        return {"app": self.app, "version": self.version}


class ServedApp(ABC):
    """An ASGI application that listens at an address while the demo runs."""

    def __init__(self, address: str) -> None:
        """Prepare to listen at ``address``, ``HOST:PORT``."""
        self._web = HttpServer(self, address)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen. Raises OSError where the port is taken."""
        self._web.open()
        self._task = asyncio.get_running_loop().create_task(self._web.run())

    async def stop(self) -> None:
        """End."""
        self._web.stop()
        if self._task is not None:
            await self._task
        self._web.close()

    @abstractmethod
    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
        """Answer one request (ASGI)."""


class RunningApp(ServedApp):
    """An instance that listens on its own address."""

    def __init__(self, instance: AppInstance) -> None:
        """Prepare ``instance`` to be served."""
        super().__init__(f"{instance.ip}:{APP_PORT}")
        self.instance = instance
        self._client = httpx.AsyncClient(proxy=f"http://{instance.ip}:{PROXY_PORT}", timeout=PATIENCE_S)

    async def stop(self) -> None:
        """End."""
        await super().stop()
        await self._client.aclose()

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
        """Answer one request, as the instance behaves now (ASGI)."""
        del receive
        instance = self.instance
        raw_headers = scope.get("headers")
        headers = {name.decode(): value.decode() for name, value in raw_headers} if isinstance(raw_headers, list) else {}
        instance.requests += 1
        instance.callers[_identity(headers.get(_CERTIFICATE, ""))] += 1
        if instance.delay_s:
            await asyncio.sleep(instance.delay_s)
        body = {"app": instance.app, "version": instance.version, "asked": await self._ask(headers)}
        content = json.dumps(body).encode()
        await send({"type": "http.response.start", "status": instance.status, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": content})

    async def _ask(self, headers: dict[str, str]) -> list[object]:
        forwarded = {name: value for name, value in headers.items() if name in _FORWARDED}
        answers = [await self._client.get(url, headers=forwarded) for url in self.instance.calls]
        return [answer.json() if answer.is_success else {"status": answer.status_code} for answer in answers]


def _identity(certificate: str) -> str:
    """Return the URI in the last element of an ``x-forwarded-client-cert`` header: the others were there before."""
    pairs = (pair.partition("=") for pair in certificate.rpartition(",")[2].split(";"))
    return next((value for name, _, value in pairs if name == "URI"), "")


def bookinfo(network: str) -> tuple[AppInstance, ...]:
    """Return bookinfo's workloads at the addresses ``network.11`` and up."""
    ratings = f"http://ratings:{SERVICE_PORT}/ratings/0"
    pages = (f"http://details:{SERVICE_PORT}/details/0", f"http://reviews:{SERVICE_PORT}/reviews/0")
    return (
        AppInstance("productpage-v1", "productpage", "v1", f"{network}.11", pages),
        AppInstance("details-v1", "details", "v1", f"{network}.12"),
        AppInstance("reviews-v1", "reviews", "v1", f"{network}.13"),
        AppInstance("reviews-v2", "reviews", "v2", f"{network}.14", (ratings,)),
        AppInstance("reviews-v3", "reviews", "v3", f"{network}.15"),
        AppInstance("ratings-v1", "ratings", "v1", f"{network}.16"),
    )


def client_apps(network: str, count: int) -> tuple[AppInstance, ...]:
    """Return ``count`` workloads that only ask, at the addresses ``network.101`` and up."""
    return tuple(AppInstance(f"client-{number}", "client", f"c{number}", f"{network}.{100 + number}") for number in range(1, count + 1))


async def answers_plaintext(ip: str) -> bool:
    """Return whether the workload at ``ip`` answers a client that has no certificate."""
    try:
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            return (await client.get(f"http://{ip}:{SERVICE_PORT}/reviews/0")).is_success
    except httpx.HTTPError:
        return False
