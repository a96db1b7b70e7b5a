"""Records what became of each response, for the fleet, the log and the admin API."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from controlplane.admin.schemas import Connection, DeferralRow, LoadRow, ProxyRow, RefusedCallerRow, TypeState
from controlplane.app.registrar import WorkloadRegistrar
from controlplane.fleet.load import LoadTotals
from controlplane.fleet.streams import Fleet, StreamRefusal, StreamStatus, TypeStatus
from controlplane.model.deferrals import Deferral
from controlplane.model.keys import Key
from controlplane.model.problems import FieldAtFault, Severity
from controlplane.model.proxies import Proxy
from controlplane.serve.authn.refused_callers import RefusedCallers
from controlplane.serve.xds.versions import LoggedVersions
from controlplane.xds.events import Event, Nacked
from controlplane.xds.stream import Variant

log = logging.getLogger(__name__)


AtFault: TypeAlias = Callable[[int, StreamRefusal], tuple[FieldAtFault, ...]]
OnRefusal: TypeAlias = Callable[[int, StreamRefusal], None]


class StreamRecorder:
    """Passes the events of streams to the fleet, with the time, and logs what matters."""

    def __init__(
        self,
        registrar: WorkloadRegistrar | None = None,
        at_fault: AtFault = lambda *_: (),
        on_refusal: OnRefusal = lambda *_: None,
        on_events: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin with no streams; ``registrar`` gets each connection too; ``at_fault`` says which fields made what one refuses.

        ``on_refusal`` is told of each refusal, after that has been found out. ``on_events`` is called whenever something has happened.
        """
        self._on_events = on_events
        self._at_fault = at_fault
        self._on_refusal = on_refusal
        self.fleet = Fleet()
        self.loads = LoadTotals()
        self._registrar = registrar
        self._logged_versions = LoggedVersions()

    def connected(self, connection: int, proxy: Proxy, variant: Variant) -> None:
        """Record that ``proxy`` has opened ``connection``."""
        self.fleet.connected(connection, proxy, variant.value, time.time())
        if self._registrar:
            self._registrar.connected(connection, proxy)
        log.info("proxy connected", extra={"proxy": proxy.id, "connection": connection, "wire": variant.value})
        if proxy.is_envoy and (told := self._logged_versions.news(proxy.envoy)):
            level = logging.WARNING if told.severity is Severity.WARNING else logging.INFO
            log.log(level, "proxy of another version", extra={"proxy": proxy.id, "code": told.code, "reason": told.words})

    def record(self, connection: int, events: Iterable[Event]) -> None:
        """Record ``events`` of ``connection``."""
        events = tuple(events)
        self.fleet.record(connection, events, time.time())
        for event in events:
            if isinstance(event, Nacked):
                proxy = self.fleet.proxy_of(connection)
                blamed = (each for name in event.at_fault for each in self._blamed(connection, event.type_url, name))
                at_fault = dict.fromkeys(f"{key} {field}" for key, field in blamed)
                log_fields = {"proxy": proxy.id if proxy else "", "type": event.type_url, "reason": event.message}
                for name in event.at_fault:
                    if refusal := self.fleet.refusal(connection, event.type_url, name):
                        self._on_refusal(connection, refusal)
                log.warning("proxy refused config", extra=log_fields | ({"at_fault": ", ".join(at_fault)} if at_fault else {}))
        self._on_events()

    def _blamed(self, connection: int, type_url: str, name: str) -> tuple[FieldAtFault, ...]:
        """Return what is to blame that ``connection`` refuses ``name``; it is found out once."""
        refusal = self.fleet.refusal(connection, type_url, name)
        if refusal is None or refusal.at_fault:
            return refusal.at_fault if refusal else ()
        at_fault = self._at_fault(connection, refusal)
        self.fleet.blame(connection, refusal, at_fault)
        return at_fault

    def disconnected(self, connection: int) -> None:
        """Record that ``connection`` has ended."""
        self.fleet.disconnected(connection)
        if self._registrar:
            self._registrar.disconnected(connection)
        log.info("proxy disconnected", extra={"connection": connection})
        self._on_events()

    def load(self, proxy: str | None = None) -> list[LoadRow]:
        """Return the traffic of all proxies together, or of one ``proxy``."""
        return [
            LoadRow(
                cluster=load.cluster,
                locality=load.locality,
                proxies=load.proxies,
                requests=load.requests,
                errors=load.errors,
                requests_per_second=load.requests_per_s,
                errors_per_second=load.errors_per_s,
                estimated_latency_ms=load.latency_ms,
            )
            for load in self.loads.rows(proxy)
        ]

    def proxies(self, held_back: Mapping[str, Mapping[Key, Deferral]], only: str | None = None) -> Iterator[ProxyRow]:
        """Yield the connected proxies, or ``only`` one of them, with their connections and what is ``held_back`` from each.

        As long as something is held back from a proxy, it is not synced.
        """
        streams: dict[str, list[StreamStatus]] = {}
        reported = self.loads.reported()
        registered = self._registrar.statuses() if self._registrar else {}
        for stream in self.fleet.streams():
            if only in {None, stream.proxy.id}:
                streams.setdefault(stream.proxy.id, []).append(stream)
        for proxy_id, rows in streams.items():
            held = held_back.get(proxy_id, {})
            yield ProxyRow(
                id=proxy_id,
                envoy=next((str(stream.proxy.envoy) for stream in rows if stream.proxy.envoy), None),
                identity=next((stream.proxy.identity.uri for stream in rows if stream.proxy.identity), None),
                synced=not held and all(stream.synced for stream in rows),
                connections=tuple(map(_connection, rows)),
                reported_at=reported.get(proxy_id),
                held_back=tuple(_deferral_row(key, held[key]) for key in sorted(held)),
                registered=registered.get(proxy_id),
            )


def refused_caller_rows(refused: RefusedCallers) -> list[RefusedCallerRow]:
    """Return the callers that were ``refused`` last, as the admin API shows them."""
    return [
        RefusedCallerRow(
            address=caller.address,
            failure=caller.failure.value,
            reason=caller.reason,
            node=caller.node,
            identity=caller.identity or None,
            times=caller.times,
            first_at=caller.first_at,
            last_at=caller.last_at,
        )
        for caller in refused.latest()
    ]


def _deferral_row(key: Key, held: Deferral) -> DeferralRow:
    waiting_for = tuple(sorted({missing.destination for missing in held.missing}))
    return DeferralRow(object=str(key), since=held.since, until=held.until, waiting_for=waiting_for)


def _connection(stream: StreamStatus) -> Connection:
    return Connection(
        connection=stream.connection,
        wire=stream.wire,
        connected_at=stream.connected_at,
        types=tuple(_type_state(status) for status in stream.types.values()),
    )


def _type_state(status: TypeStatus) -> TypeState:
    return TypeState(
        type=status.type_url.rpartition(".")[2],
        type_url=status.type_url,
        sent=status.sent,
        acked=status.acked,
        nacked=status.nacked,
        error=status.error,
        sent_at=status.sent_at,
        acked_at=status.acked_at,
        nacked_at=status.nacked_at,
        resources=status.resources,
        sent_bytes=status.sent_bytes,
    )
