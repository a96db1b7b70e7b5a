"""Whether a proxy has what it is to have, type by type, from a row of the admin API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypedDict

from controlplane.cli.operator.names import proxy_type, short_name
from controlplane.fleet.sync_state import ROUTE_TYPES, SyncState
from controlplane.untyped import Json, instant, items, text

COLUMNS: Mapping[str, str] = {  # the types that tables show, by the name of a message
    "Cluster": "CDS",
    "Listener": "LDS",
    "ClusterLoadAssignment": "EDS",
    "RouteConfiguration": "RDS",
    "VirtualHost": "VHDS",
    "Secret": "SDS",
    "TypedExtensionConfig": "ECDS",
}


class TypeSync(TypedDict):
    """One type of one proxy; ``since`` is a time in ISO 8601."""

    type: str
    state: str
    since: str | None
    error: str | None
    resources: int


class ProxySync(TypedDict):
    """One proxy; ``replica`` is the control plane that has its stream."""

    name: str
    id: str
    type: str
    envoy: str | None
    identity: str | None
    replica: str
    connectedAt: str | None
    types: list[TypeSync]
    heldBack: list[DeferredObject]


class DeferredObject(TypedDict):
    """An object with rules that stay as they were."""

    object: str
    until: str
    waitingFor: list[str]


def proxy_sync(row: Json, replica: str) -> ProxySync:
    """Return the state of the proxy of ``row``, whose stream is at ``replica``."""
    held_back = [_deferred(held) for held in items(row, "heldBack")]
    types: dict[str, TypeSync] = {}
    connected = []
    for connection in items(row, "connections"):
        connected.append(text(connection, "connectedAt"))
        for status in items(connection, "types"):
            found = _type_sync(status, held=bool(held_back))
            before = types.get(found["type"])
            if before is None or _ORDER[found["state"]] > _ORDER[before["state"]]:
                types[found["type"]] = found
    proxy_id = text(row, "id")
    return ProxySync(
        name=short_name(proxy_id),
        id=proxy_id,
        type=proxy_type(proxy_id),
        envoy=text(row, "envoy") or None,
        identity=text(row, "identity") or None,
        replica=replica,
        connectedAt=min(filter(None, connected), default=None),
        types=[types[name] for name in (*COLUMNS, *sorted(types.keys() - COLUMNS.keys())) if name in types],
        heldBack=held_back,
    )


def sync_problems(proxy: ProxySync) -> Iterator[str]:
    """Yield what ``proxy`` has refused, and what is held back from it, in sentences."""
    for each in proxy["types"]:
        if each["state"] == SyncState.NACKED:
            yield f"{proxy['name']} refuses {each['type']}: {each['error']}"
    for held in proxy["heldBack"]:
        yield f"{held['object']} stays as it was until {held['until']} at most: it leads to {', '.join(held['waitingFor'])}"


def age(since: str | None, now: float) -> str:
    """Return how long ago ``since`` was, ``now`` in seconds since the epoch: 12s, 5m, 3h, 4d."""
    began = instant({"at": since}, "at")
    if not began:
        return ""
    seconds = max(0, int(now - began))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


_ORDER: Mapping[str, int] = {state.value: place for place, state in enumerate(SyncState)}


def _type_sync(status: Json, *, held: bool) -> TypeSync:
    kind = text(status, "type")
    count = status.get("resources")
    sent, acked = text(status, "sent"), text(status, "acked")
    if instant(status, "nackedAt") > instant(status, "ackedAt"):
        state, since = SyncState.NACKED, text(status, "nackedAt")
    elif sent != acked:
        state, since = SyncState.STALE, text(status, "sentAt")
    elif held and kind in ROUTE_TYPES:
        state, since = SyncState.HELD, text(status, "ackedAt")
    else:
        state, since = SyncState.SYNCED, text(status, "ackedAt")
    return TypeSync(
        type=kind,
        state=state.value,
        since=since or None,
        error=text(status, "error") or None if state is SyncState.NACKED else None,
        resources=count if isinstance(count, int) else 0,
    )


def _deferred(held: Json) -> DeferredObject:
    waiting = held.get("waitingFor")
    return DeferredObject(
        object=text(held, "object"),
        until=text(held, "until"),
        waitingFor=[each for each in waiting if isinstance(each, str)] if isinstance(waiting, list) else [],
    )
