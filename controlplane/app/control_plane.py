"""Wires the rooms together and runs them, until somebody says stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from prometheus_client import CollectorRegistry

from controlplane.admin.api import admin_app
from controlplane.admin.health import health_app
from controlplane.admin.http_server import HttpServer
from controlplane.admin.metrics import MetricsCollector
from controlplane.admin.schemas import IdentityRow
from controlplane.admin.state import AdminState, KubernetesState
from controlplane.app import jwks
from controlplane.app.garbage_collection import collect_when_quiet, give_large_blocks_back
from controlplane.app.identity import identity_row, open_identities, published_identity, referred_credentials, root_certificates_of
from controlplane.app.recorder import StreamRecorder
from controlplane.app.registrar import WorkloadRegistrar
from controlplane.kube.access import KubernetesAccess
from controlplane.kube.client import Client, connect
from controlplane.kube.lease import Lease
from controlplane.kube.reflector import ReflectorTiming
from controlplane.mesh.mesh import Mesh
from controlplane.objects.changes import Change
from controlplane.objects.locations import Locations
from controlplane.serve.authn.authenticators import PlaintextAuthenticator
from controlplane.serve.identity import Identities
from controlplane.serve.reports.hds import health_service
from controlplane.serve.reports.lrs import load_service
from controlplane.serve.sds.secret_stores import FileSecrets
from controlplane.serve.server import DiscoveryServer, ListenAddress, StreamFactories
from controlplane.serve.xds.hub import Hub
from controlplane.settings import KubernetesSettings, Settings
from controlplane.sources.files.source import FileSource
from controlplane.sources.kubernetes.source import KubernetesSource
from controlplane.sources.precedence import Precedence
from controlplane.sources.registrations import RegistrationSource
from controlplane.webhooks.injector import Injector
from controlplane.webhooks.mutate import INJECT_NAMESPACE_PATH, INJECT_PATH
from controlplane.webhooks.registration import WebhookRegistration
from controlplane.webhooks.server import Webhook
from controlplane.webhooks.validate import validation_verdict
from controlplane.writeback.replicas import LEASE_PREFIX
from controlplane.writeback.root_certificates import RootCertificates
from controlplane.writeback.status import StatusInputs, StatusWriter
from controlplane.writeback.workload_entries import EntryOwner, WorkloadEntryWriter
from controlplane.xds.delta import DeltaStream
from controlplane.xds.sotw import SotwStream

log = logging.getLogger(__name__)

# The event loop gives way to the threads of gRPC and of the file watch when it waits, not every 5 ms: with 500 streams the last one has a
# change after 55 ms instead of 62.
_SWITCH_S = 0.03

LEADER = "navarch-leader"
_AGAIN_S = 1.0  # until a source that failed is begun anew


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a control plane can be reached, as ``host:port``."""

    xds: str
    admin: str
    health: str | None
    webhook: str | None = None
    xds_tls: str | None = None
    xds_mtls: str | None = None


class Source(Protocol):
    """Where objects come from."""

    name: str

    async def run(self, deliver: Callable[[tuple[Change, ...]], None]) -> None:
        """Hand all there is to ``deliver``, be it nothing, and from then on what changes."""

    def locations(self) -> Locations:
        """Return what is wrong with the objects and where they stand, to be asked in another thread."""

    def not_ready(self) -> str | None:
        """Return why not all there is has been handed over yet, where there is more to say than that it is not."""


class Keeper(Protocol):
    """What has something to do from the start to the end."""

    async def run(self) -> None:
        """Do it until cancelled."""


class ControlPlane:
    """One control plane: everything between the sources and the proxies."""

    def __init__(self, settings: Settings, client: Client | None = None) -> None:
        """Make one by ``settings``, with a ``client`` where Kubernetes is a source; nothing is opened yet."""
        self._settings = settings
        self._sources: list[Source] = [FileSource(root) for root in settings.files]
        self._keepers: tuple[Keeper, ...] = ()  # of what is written back
        self._webhook: HttpServer | None = None
        self._kubernetes_facts: KubernetesState | None = None
        cluster = settings.kubernetes
        if cluster and client:
            self._cluster = KubernetesSource(client, cluster.namespaces, random.random, ReflectorTiming.silent(cluster.watch_timeout_s))
            self._sources.append(self._cluster)
        self._given = FileSecrets()
        self._mesh = Mesh()
        self._registrar = WorkloadRegistrar(self._mesh.object, settings.reports.grace_s) if settings.identity else None
        if self._registrar and not cluster:
            self._sources.append(RegistrationSource(self._registrar.documents, self._registrar.changed))
        self._precedence = Precedence([source.name for source in self._sources])
        self._issuers = jwks.jwks_refresher(settings.jwks)
        self._hub = Hub(self._mesh, [source.name for source in self._sources], self._issuers)
        self._books = StreamRecorder(self._registrar)
        if settings.kubernetes and client:
            self._keepers = self._write_back(client, settings.kubernetes)
        machines = StreamFactories(lambda view, only: SotwStream(view, only=only), lambda view, only: DeltaStream(view, only=only))
        self._server = DiscoveryServer(self._hub, machines, self._books)
        self._client = client
        self._trust: Identities | None = None
        self._roots: RootCertificates | None = None
        self._webs = self._pages(settings)

    @property
    def draining(self) -> bool:
        """Return whether no new streams are taken any more."""
        return self._server.draining

    @property
    def trust(self) -> Identities | None:
        """Return the identities that are given, where any are."""
        return self._trust

    @property
    def refreshes(self) -> int:
        """Return how often the mesh was brought up to date."""
        return self._hub.refreshes

    async def run(self, stop: asyncio.Event, announce: Callable[[Addresses], None] | None = None) -> None:
        """Serve until ``stop`` is set, then let the proxies go in good order; ``announce`` is told where, as soon as all ports are open.

        Raises OSError where a port cannot be opened.
        """
        addresses = await self._open()
        async with asyncio.TaskGroup() as tasks:
            sources = map(self._read, self._sources)
            keepers = (each.run() for each in (*self._keepers, self._trust, self._roots) if each)
            endless = (self._hub.run(), self._issuers.run(self._hub.submit_keys), collect_when_quiet(self._turnover), *sources, *keepers)
            work = [tasks.create_task(each) for each in endless]
            webs = [*self._webs, *([self._webhook] if self._webhook else [])]
            for web in webs:
                tasks.create_task(web.run())
            if announce:
                announce(addresses)
            await stop.wait()
            log.info("stopping")
            await self._server.stop(self._settings.grace_s, random.random)
            for web in webs:
                web.stop()
            for task in work:
                task.cancel()
        log.info("stopped")

    def _pages(self, settings: Settings) -> list[HttpServer]:
        facts = AdminState(
            mesh=self._mesh,
            proxies=self._books.proxies,
            sessions=self._hub.sessions,
            locations=lambda: [*(source.locations() for source in self._sources), self._precedence.copy()],
            not_ready=self._not_ready,
            refreshes=lambda: self._hub.refreshes,
            rejects=lambda: self._books.fleet.rejects,
            kubernetes=self._kubernetes_facts,
            identity=self._identity,
            issuers=lambda: jwks.issuer_rows(self._issuers.held()),
            fetches=lambda: self._issuers.outcomes,
            load=self._books.load,
            load_totals=lambda: self._books.loads.totals,
        )
        registry = CollectorRegistry()
        registry.register(MetricsCollector(facts))
        webs = [HttpServer(admin_app(facts, registry, settings.admin_hosts), settings.admin)]
        if settings.health:
            webs.append(HttpServer(health_app(self._not_ready, registry), settings.health))
        return webs

    def _write_back(self, client: Client, cluster: KubernetesSettings) -> tuple[Keeper, ...]:
        self._leader = leader = Lease(client, (cluster.system_namespace, LEADER), cluster.pod, random.random)
        replica = Lease(client, (cluster.system_namespace, LEASE_PREFIX + cluster.pod), cluster.pod, random.random)
        world = StatusInputs(
            objects=self._cluster.store.istio_records,
            cross_object_problems=self._mesh.problems_about,
            rollout=lambda key: self._hub.rollout(key, self._books.fleet.error),
            change_counters=lambda: (self._hub.arrivals, self._hub.departures, self._hub.learned, sum(self._books.fleet.rejects.values())),
            identity=lambda: published_identity(self._identity()),
        )
        writer, injector = (
            StatusWriter(client, world, leader, cluster.pod, cluster.system_namespace),
            Injector(client, cluster, self._mesh.proxy_defaults),
        )
        webhook = Webhook(
            {"/validate": lambda _: validation_verdict, **dict.fromkeys((INJECT_PATH, INJECT_NAMESPACE_PATH), injector.reviewer)}
        )
        keepers: list[Keeper] = [leader, replica, writer]
        if self._registrar:
            place = EntryOwner(cluster.pod, cluster.system_namespace, self._settings.reports.grace_s)
            keepers.append(WorkloadEntryWriter(client, place, leader, self._registrar, self._cluster.store.entries))
        self._kubernetes_facts = KubernetesState(
            silences=self._cluster.silences,
            leads=lambda: leader.held,
            status_writes=lambda: writer.writes,
            reviews=lambda: webhook.counts,
        )
        if cluster.webhook:
            registration = WebhookRegistration(client, cluster.system_namespace, leader, lambda: bool(webhook.counts.total()))
            self._webhook = HttpServer(webhook, cluster.webhook, registration.tls)
            keepers += (registration, injector)
        return tuple(keepers)

    async def _read(self, source: Source) -> None:
        while True:
            try:
                await source.run(partial(self._deliver, source.name))
            except Exception:  # ours; what was published stays, and the source begins anew
                log.exception("source failed", extra={"source": source.name})
                await asyncio.sleep(_AGAIN_S)

    def _deliver(self, source: str, changes: tuple[Change, ...]) -> None:
        counts = self._precedence.take(source, changes)
        self._given.take(counts)
        self._hub.submit(source, counts)

    def _injected(self) -> frozenset[str] | None:
        return self._mesh.injected_namespaces() if self._hub.synced.is_set() else None

    def _identity(self) -> IdentityRow | None:
        return identity_row(self._trust, self._roots) if self._trust else None

    def _turnover(self) -> int:
        return self._hub.refreshes + self._hub.departures

    def _not_ready(self) -> str | None:
        if self._server.draining:
            return "this control plane is stopping"
        if self._hub.synced.is_set():
            return None
        reasons = [reason for source in self._sources if (reason := source.not_ready())]
        if not self._issuers.settled:
            reasons.append("keys of token issuers have not been fetched yet")
        return "; ".join(reasons) or "not every source has been read yet"

    async def _open(self) -> Addresses:
        settings = self._settings
        self._trust = await open_identities(settings, self._client, lambda: self._mesh.settings().trust_domain)
        if self._trust:
            mesh = (self._mesh.referred_credentials, self._hub.submit_verdicts)
            self._keepers += referred_credentials(self._trust, self._given, self._client, settings.kubernetes, mesh)
        if self._trust and self._client and settings.kubernetes:
            self._roots = root_certificates_of(self._trust, self._client, settings.kubernetes, self._leader, self._injected)
        entrances = {"xds": ListenAddress(settings.xds, PlaintextAuthenticator())}
        if self._trust and settings.identity and self._registrar:
            services = (health_service(self._registrar), load_service(self._books.loads, settings.reports.load_interval_s))
            entrances |= self._trust.entrances(settings.identity.xds_tls, settings.identity.xds_mtls, services)
        try:
            admin, *health = [web.open() for web in self._webs]
            webhook = self._webhook.open() if self._webhook else None
            ports = await self._server.start(entrances.values(), self._trust.secrets if self._trust else None)
        except OSError:
            for web in self._webs:
                web.close()
            raise
        found = Addresses(admin=admin, health=health[0] if health else None, webhook=webhook, xds="")
        opened = zip(entrances.items(), ports, strict=True)
        return replace(found, **{name: f"{each.address.rpartition(':')[0]}:{port}" for (name, each), port in opened})


async def run_until_signalled(settings: Settings, announce: Callable[[Addresses], None]) -> None:
    """Run a control plane by ``settings`` until this process is told to end (SIGTERM, SIGINT)."""
    give_large_blocks_back()
    sys.setswitchinterval(_SWITCH_S)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        client = None
        if settings.kubernetes:
            client = await stack.enter_async_context(connect(KubernetesAccess(settings.kubernetes.kubeconfig, settings.kubernetes.context)))
        await ControlPlane(settings, client).run(stop, announce)
