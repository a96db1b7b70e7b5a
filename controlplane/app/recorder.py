"""What became of each response: folded by the fleet, told to the log, shown to the admin API."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from controlplane.admin.schemas import Connection, LoadRow, ProxyRow, TypeState
from controlplane.app.registrar import WorkloadRegistrar
from controlplane.fleet.load import LoadTotals
from controlplane.fleet.streams import Fleet, StreamStatus, TypeStatus
from controlplane.model.proxies import Proxy
from controlplane.xds.events import Event, Nacked
from controlplane.xds.stream import Variant

log = logging.getLogger(__name__)


class StreamRecorder:
    """Gives the fleet what it has not of its own, the time, and tells the log what matters."""

    def __init__(self, registrar: WorkloadRegistrar | None = None) -> None:
        """Begin with no streams; ``registrar`` is told of each."""
        self.fleet = Fleet()
        self.loads = LoadTotals()
        self._registrar = registrar

    def connected(self, connection: int, proxy: Proxy, variant: Variant) -> None:
        """Take in that ``proxy`` has opened ``connection``."""
        self.fleet.connected(connection, proxy, variant.value, time.time())
        if self._registrar:
            self._registrar.connected(connection, proxy)
        log.info("proxy connected", extra={"proxy": proxy.id, "connection": connection, "wire": variant.value})

    def record(self, connection: int, events: Iterable[Event]) -> None:
        """Take in ``events`` of ``connection``."""
        events = tuple(events)
        self.fleet.record(connection, events, time.time())
        for event in events:
            if isinstance(event, Nacked):
                proxy = self.fleet.proxy_of(connection)
                facts = {"proxy": proxy.id if proxy else "", "type": event.type_url, "reason": event.message}
                log.warning("proxy refused config", extra=facts)

    def disconnected(self, connection: int) -> None:
        """Take in that ``connection`` is over."""
        self.fleet.disconnected(connection)
        if self._registrar:
            self._registrar.disconnected(connection)
        log.info("proxy disconnected", extra={"connection": connection})

    def load(self, proxy: str | None = None) -> list[LoadRow]:
        """Return the traffic of all proxies together, or of one ``proxy``."""
        return [
            LoadRow(
                cluster=each.cluster,
                locality=each.locality,
                proxies=each.proxies,
                requests=each.requests,
                errors=each.errors,
                requests_per_second=each.requests_per_s,
                errors_per_second=each.errors_per_s,
                estimated_latency_ms=each.latency_ms,
            )
            for each in self.loads.rows(proxy)
        ]

    def proxies(self) -> list[ProxyRow]:
        """Return the connected proxies, with their connections."""
        found: dict[str, list[StreamStatus]] = {}
        reported = self.loads.reported()
        registered = self._registrar.statuses() if self._registrar else {}
        for account in self.fleet.streams():
            found.setdefault(account.proxy.id, []).append(account)
        return [
            ProxyRow(
                id=proxy_id,
                identity=next((each.proxy.identity.uri for each in rows if each.proxy.identity), None),
                synced=all(each.synced for each in rows),
                connections=tuple(map(_connection, rows)),
                reported_at=reported.get(proxy_id),
                registered=registered.get(proxy_id),
            )
            for proxy_id, rows in found.items()
        ]


def _connection(account: StreamStatus) -> Connection:
    return Connection(
        connection=account.connection,
        wire=account.wire,
        connected_at=account.connected_at,
        types=tuple(_type_state(each) for each in account.types.values()),
    )


def _type_state(line: TypeStatus) -> TypeState:
    return TypeState(
        type=line.type_url.rpartition(".")[2],
        type_url=line.type_url,
        sent=line.sent,
        acked=line.acked,
        nacked=line.nacked,
        error=line.error,
        sent_at=line.sent_at,
        acked_at=line.acked_at,
        nacked_at=line.nacked_at,
        resources=line.resources,
        sent_bytes=line.sent_bytes,
    )
