"""Asks a control plane for drills, at its Unix socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from controlplane.errors import PlatformError
from controlplane.untyped import Json

_LONGEST_LINE = 64 << 20  # a report with the samples of an hour


class NotAnswered(PlatformError):
    """The control plane cannot be asked, or refuses; the text says why, ``refused`` whether it was the control plane that did."""

    def __init__(self, text: str, *, refused: bool = False) -> None:
        """Say ``text``."""
        super().__init__(text)
        self.refused = refused


class DrillClient:
    """Asks at one socket."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """Ask by ``session``."""
        self._session = session

    async def ask(self, method: str, path: str, body: Json | None = None) -> object:
        """Return what is answered; raises NotAnswered."""
        async with self._answer(method, path, body) as answer:
            found: object = await answer.json()
            return found

    async def lines(self, path: str, body: Json) -> AsyncIterator[Json]:
        """Yield the answer to a POST of ``body`` line by line, as they come; raises NotAnswered."""
        async with self._answer("POST", path, body) as answer:
            pending = b""
            async for chunk in answer.content.iter_any():
                *whole, pending = (pending + chunk).split(b"\n")
                for line in whole:
                    found = json.loads(line)
                    if isinstance(found, dict):
                        yield found
                if len(pending) > _LONGEST_LINE:
                    raise NotAnswered("the control plane answers with a line that does not end")

    @asynccontextmanager
    async def _answer(self, method: str, path: str, body: Json | None) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.request(method, f"http://navarch{path}", json=body) as answer:
                if answer.status >= 400:
                    raise NotAnswered(_detail(await answer.text()), refused=True)
                yield answer
        except aiohttp.ClientConnectorError as error:
            raise NotAnswered(f"{error.strerror or error}: is `navarch serve --drills SOCKET` running?") from None
        except aiohttp.ClientError as error:
            raise NotAnswered(f"the control plane has gone: {error}; its proxies drop the faults by themselves") from None


@asynccontextmanager
async def drill_client(socket: str) -> AsyncIterator[DrillClient]:
    """Return what asks at ``socket``."""
    timeout = aiohttp.ClientTimeout(total=None, connect=5)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket), timeout=timeout) as session:
        yield DrillClient(session)


def _detail(text: str) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        return text[:400]
    detail = found.get("detail") if isinstance(found, dict) else None
    return detail if isinstance(detail, str) else text[:400]
