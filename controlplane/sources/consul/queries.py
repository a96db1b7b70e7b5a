"""Blocking queries: a question that Consul answers when there is something new, by the rules for its index.

https://developer.hashicorp.com/consul/api-docs/features/blocking
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from controlplane.settings import ConsulSettings
from controlplane.sources.registry.http import HttpAnswer, RegistryHttp, RegistryUnreachable, json_of

MAX_BODY = 64 << 20  # bytes
WAIT_S = 30.0  # after which Consul answers though there is nothing new: a connection that has died is noticed by that
_SLACK_S = 5.0
_TIMEOUT_S = 10.0
_STALE_S = 10.0  # without a word from the leader, from which on what a server says is not believed
_INDEX, _LEADER, _CONTACT = "X-Consul-Index", "X-Consul-KnownLeader", "X-Consul-LastContact"
_FILTERED = "X-Consul-Results-Filtered-By-ACLs"


class ConsulAnswer(NamedTuple):
    """A good answer: its body, as of which index, and whether the token lets everything be seen."""

    body: bytes
    as_of: int
    filtered: bool
    regressed: bool = False  # the index is lower than the one before: Consul has lost what it knew

    @property
    def json(self) -> object:
        """Return the JSON of the body; raises RegistryUnreachable."""
        return json_of(self.body)


class ConsulQueries:
    """Asks one Consul."""

    def __init__(self, http: RegistryHttp, settings: ConsulSettings) -> None:
        """Ask over ``http``, about the datacenter of ``settings``."""
        self._http = http
        self._common = {"dc": settings.datacenter} if settings.datacenter else {}
        self.stale = settings.stale

    async def ask(self, path: str, *, stale: bool = False) -> ConsulAnswer:
        """Return the answer about ``path`` as things are now; raises RegistryUnreachable."""
        return await self.ask_within(path, {}, _TIMEOUT_S, stale=stale)

    async def ask_within(self, path: str, params: Mapping[str, str], timeout_s: float, *, stale: bool) -> ConsulAnswer:
        """Return the answer about ``path`` with ``params`` within ``timeout_s``; raises RegistryUnreachable."""
        asked = {**self._common, **params, **({"stale": ""} if stale else {})}
        answer = await self._http.get(path, asked, most=MAX_BODY, timeout_s=timeout_s)
        _check_leader(answer)
        headers = answer.headers
        return ConsulAnswer(answer.body, _number(headers.get(_INDEX, "")), headers.get(_FILTERED, "") == "true")


class BlockingQuery:
    """One question, asked again and again."""

    def __init__(self, queries: ConsulQueries, path: str, params: Mapping[str, str] | None = None) -> None:
        """Ask about ``path`` with ``params``."""
        self._queries = queries
        self._path = path
        self._params = params or {}
        self._index = 0  # of the last answer, 0: answer at once
        self._highest = 0
        self._stale = queries.stale

    async def next(self) -> ConsulAnswer:
        """Return the next answer, which may be the same as the one before; raises RegistryUnreachable, and then begins anew."""
        blocking = {"index": str(self._index), "wait": f"{WAIT_S:g}s"} if self._index else {}
        timeout_s = WAIT_S * 17 / 16 + _SLACK_S if blocking else _TIMEOUT_S
        try:
            answer = await self._queries.ask_within(self._path, {**self._params, **blocking}, timeout_s, stale=self._stale)
        except RegistryUnreachable:
            self._index, self._stale = 0, False  # by the leader, as one that follows may be cut off
            raise
        regressed = answer.as_of < self._highest
        if regressed and self._stale:
            self._index, self._stale = 0, False
            raise RegistryUnreachable("a server that follows is behind: the leader is asked")
        self._index = 0 if regressed else max(1, answer.as_of)
        self._highest = answer.as_of
        self._stale = self._queries.stale
        return answer._replace(regressed=regressed)


def _check_leader(answer: HttpAnswer) -> None:
    if answer.headers.get(_LEADER, "true") == "false":
        raise RegistryUnreachable("it knows of no leader")
    contact_ms = _number(answer.headers.get(_CONTACT, "0"))
    if contact_ms > _STALE_S * 1000:
        raise RegistryUnreachable(f"the server has heard nothing of the leader for {contact_ms / 1000:.0f} s")


def _number(value: str) -> int:
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 20 else 0
