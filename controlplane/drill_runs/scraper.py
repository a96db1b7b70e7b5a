"""Reads what proxies count, at the port at which Prometheus reads it.

docs/decisions/drills-measurement.md says why it is read, and from there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol
from urllib.parse import urlencode

import aiohttp

from controlplane.bootstrap.status_listeners import STATS_PATH, StatusPorts
from controlplane.drills.measuring.exposition import Reading, read_page
from controlplane.drills.planning.plan import DrilledProxy

_TIMEOUT_S = 1.0  # for a page; a proxy that takes longer is silent this time
_MOST_BYTES = 4 << 20
_AT_A_TIME = 20
_PORT = StatusPorts().stats
log = logging.getLogger(__name__)


class Counters(Protocol):
    """Where the counters of proxies are read."""

    async def read(self, proxies: Sequence[DrilledProxy], hosts: Iterable[str]) -> Mapping[str, Reading | None]:
        """Return what each of ``proxies`` has counted of ``hosts``, by id; ``None``: it did not answer."""


class StatsScraper:
    """Reads them from the proxies, of each page only what is about the hosts that are asked for."""

    def __init__(self) -> None:
        """Read nothing before ``open``."""
        self._session: aiohttp.ClientSession | None = None
        self._turns = asyncio.Semaphore(_AT_A_TIME)

    def open(self, session: aiohttp.ClientSession) -> None:
        """Ask by ``session`` from now on."""
        self._session = session

    async def read(self, proxies: Sequence[DrilledProxy], hosts: Iterable[str]) -> Mapping[str, Reading | None]:
        """Return what each of ``proxies`` has counted of ``hosts``, by id; ``None``: it did not answer."""
        named = tuple(sorted(hosts))
        wanted = "|".join((*map(re.escape, named), r"\.fault\.(aborts|delays)_injected$"))
        query = urlencode({"usedonly": "", "filter": wanted})
        pages = await asyncio.gather(*(self._one(proxy, query, named) for proxy in proxies))
        return dict(zip((proxy.id for proxy in proxies), pages, strict=True))

    async def _one(self, proxy: DrilledProxy, query: str, hosts: Sequence[str]) -> Reading | None:
        try:
            address = ipaddress.ip_address(proxy.address)
        except ValueError:
            return None
        if self._session is None or address.is_link_local or address.is_multicast or address.is_unspecified:
            return None
        host = f"[{address}]" if address.version == 6 else str(address)
        try:
            async with self._turns, asyncio.timeout(_TIMEOUT_S):
                url = f"http://{host}:{_PORT}{STATS_PATH}?{query}"
                async with self._session.get(url, allow_redirects=False) as answer:
                    if answer.status != 200:
                        return None
                    body = await answer.content.read(_MOST_BYTES)
                    while len(body) < _MOST_BYTES and (more := await answer.content.read(_MOST_BYTES - len(body))):
                        body += more
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.debug("counters not read", extra={"proxy": proxy.id, "reason": str(error)})
            return None
        return read_page(body.decode("utf-8", "replace"), hosts)
