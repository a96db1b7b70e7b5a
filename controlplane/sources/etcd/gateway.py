"""etcd over its JSON gateway: what there is below a prefix at a revision, and what happens from a revision on.

https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/; keys and values are in base64 there, and large numbers are texts.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import NamedTuple

from controlplane.settings import EtcdSettings
from controlplane.sources.registry.http import RegistryHttp, RegistryUnreachable, SecretFile, json_of
from controlplane.untyped import Json, items, section, text

_PAGE = 1000  # keys
_MAX_BODY = 64 << 20  # bytes of a page
_MAX_LINE = 16 << 20  # bytes of an event
_TIMEOUT_S = 10.0
_IDLE_S = 10.0  # without an event, until it is asked whether there is none
_UNAUTHENTICATED = 401


class Event(NamedTuple):
    """At a revision a key was given a value, or (``None``) went."""

    revision: int
    key: str
    value: bytes | None


class Happened(NamedTuple):
    """What has happened; ``compacted``: what happened between is not known any more, so that all has to be listed."""

    events: tuple[Event, ...] = ()
    compacted: bool = False


class Listed(NamedTuple):
    """All there is at a revision of a cluster."""

    cluster: str
    revision: int
    pairs: tuple[tuple[str, bytes], ...]


class EtcdGateway:
    """One member of an etcd cluster."""

    def __init__(self, url: str, settings: EtcdSettings) -> None:
        """Ask at ``url`` by ``settings``."""
        self._settings = settings
        self._password = SecretFile(settings.password_file) if settings.password_file else None
        self._token = ""
        self._http = RegistryHttp(url, settings.tls, self._headers, connections=4)
        first = f"{settings.prefix.rstrip('/')}/"
        self._range: Mapping[str, object] = {"key": _encoded(first), "range_end": _encoded(f"{first[:-1]}0")}  # '0' comes after '/'

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    async def list(self, most: int) -> Listed:
        """Return all there is, ``most`` keys and one more at most; raises RegistryUnreachable."""
        pairs: list[tuple[str, bytes]] = []
        question: dict[str, object] = {**self._range, "limit": _PAGE}
        cluster, revision = "", 0
        while True:
            answer = await self._ask("/v3/kv/range", question)
            header = section(answer, "header")
            cluster, revision = cluster or text(header, "cluster_id"), revision or _number(header, "revision")
            page = [(_decoded(text(pair, "key")), _decoded_bytes(text(pair, "value"))) for pair in items(answer, "kvs")]
            pairs += page
            if answer.get("more") is not True or not page or len(pairs) > most:
                return Listed(cluster, revision, tuple(pairs))
            question |= {"key": _encoded(f"{page[-1][0]}\0"), "revision": str(revision)}

    async def latest(self) -> tuple[int, int]:
        """Return the revision of now, and that of the latest change of a key that is there; raises RegistryUnreachable."""
        question = {**self._range, "limit": 1, "keys_only": True, "sort_order": "DESCEND", "sort_target": "MOD"}
        answer = await self._ask("/v3/kv/range", question)
        changed = max((_number(pair, "mod_revision") for pair in items(answer, "kvs")), default=0)
        return _number(section(answer, "header"), "revision"), changed

    async def watch(self, revision: int) -> AsyncGenerator[Happened | None]:
        """Yield what happens from ``revision`` on, and ``None`` when nothing has for a while; raises RegistryUnreachable."""
        question = {"create_request": {**self._range, "start_revision": str(revision), "progress_notify": True}}
        lines = self._http.lines("/v3/watch", question, most=_MAX_LINE, idle_s=_IDLE_S)
        async with contextlib.aclosing(lines):
            async for line in lines:
                yield _happened(line) if line else None

    async def _ask(self, path: str, question: Mapping[str, object]) -> Json:
        if self._settings.user and not self._token:
            await self._authenticate()
        try:
            answer = await self._http.post(path, question, most=_MAX_BODY, timeout_s=_TIMEOUT_S)
        except RegistryUnreachable as error:
            if error.status == _UNAUTHENTICATED:
                self._token = ""  # it has run out
            raise
        data = answer.json()
        return data if isinstance(data, dict) else {}

    async def _authenticate(self) -> None:
        question = {"name": self._settings.user, "password": self._password.read() if self._password else ""}
        answer = (await self._http.post("/v3/auth/authenticate", question, most=_MAX_BODY, timeout_s=_TIMEOUT_S)).json()
        self._token = text(answer, "token") if isinstance(answer, dict) else ""
        if not self._token:
            raise RegistryUnreachable("it gave no token for the user")

    def _headers(self) -> Mapping[str, str]:
        """Return the token, and that a member without a leader is to say so."""
        return {"Grpc-Metadata-hasleader": "true"} | ({"Authorization": self._token} if self._token else {})


def _happened(line: bytes) -> Happened:
    data = json_of(line)
    if not isinstance(data, dict) or not isinstance(data.get("result"), dict):
        reason = text(section(data, "error"), "message") if isinstance(data, dict) else ""
        raise RegistryUnreachable(f"the watch ended: {reason[:200] or 'no reason given'}")
    result = section(data, "result")
    if _number(result, "compact_revision"):
        return Happened(compacted=True)
    if result.get("canceled") is True:
        raise RegistryUnreachable(f"the watch was ended: {text(result, 'cancel_reason')[:200] or 'no reason given'}")
    return Happened(tuple(map(_event, items(result, "events"))))


def _event(event: Json) -> Event:
    pair = section(event, "kv")
    revision, key = _number(pair, "mod_revision"), _decoded(text(pair, "key"))
    return Event(revision, key, None if text(event, "type") == "DELETE" else _decoded_bytes(text(pair, "value")))


def _number(data: Json, name: str) -> int:
    value = text(data, name)
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 20 else 0


def _encoded(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def _decoded(key: str) -> str:
    return _decoded_bytes(key).decode("utf-8", "backslashreplace")


def _decoded_bytes(value: str) -> bytes:
    try:
        return base64.b64decode(value)
    except binascii.Error:
        raise RegistryUnreachable("its answer is not in base64") from None
