"""Wires the rooms together and runs them until they are stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from controlplane.admin.api import admin_app
from controlplane.admin.health import health_app
from controlplane.admin.http_server import HttpServer
from controlplane.admin.schemas import IdentityRow
from controlplane.admin.state import AdminState
from controlplane.app.api_server import ApiServer, BackgroundTask, api_server
from controlplane.app.drills.service import Drills
from controlplane.app.early_stop import unless_stopped
from controlplane.app.faults.injector import FaultInjector
from controlplane.app.fetched import jwks
from controlplane.app.fetched.modules import Modules
from controlplane.app.garbage_collection import collect_when_quiet, give_large_blocks_back
from controlplane.app.identity import Identities, identity_row, open_identities, published_identity
from controlplane.app.observability.observability import Observability
from controlplane.app.problem_log import ProblemLog
from controlplane.app.recorder import StreamRecorder, refused_caller_rows
from controlplane.app.registrar import WorkloadRegistrar
from controlplane.app.sources import Sources, sources_of
from controlplane.app.system_namespace import SystemNamespace
from controlplane.app.update_loop import UpdateLoop
from controlplane.app.write_back import ProxyProgress, WriteBack, entries_of, status_inputs, write_back
from controlplane.kube.access import KubernetesAccess
from controlplane.kube.client import Client, connect
from controlplane.mesh.mesh import Mesh
from controlplane.mesh.patches.bootstraps import patches_at_start
from controlplane.model.problems import Problem
from controlplane.model.revisions import DEFAULT_REVISION
from controlplane.serve.authn.authenticators import PlaintextAuthenticator
from controlplane.serve.authn.refused_callers import RefusedCallers
from controlplane.serve.identity import IdentityServer
from controlplane.serve.reports.hds import health_service
from controlplane.serve.reports.lrs import load_service
from controlplane.serve.server import DiscoveryServer, ListenAddress, StreamFactories
from controlplane.serve.xds.extensions import missing_extensions
from controlplane.serve.xds.refusals import fields_at_fault, refusal_problems, withdraw_patches
from controlplane.serve.xds.subscribers import Subscribers
from controlplane.serve.xds.versions import version_problems
from controlplane.settings import Settings
from controlplane.xds.delta import DeltaStream
from controlplane.xds.shared_plans import SharedPlans
from controlplane.xds.sotw import SotwStream

log = logging.getLogger(__name__)

# The event loop gives way to the threads of gRPC and of the file watch when it waits, not every 5 ms: with 500 streams the last one has a
# change after 55 ms instead of 62.
_SWITCH_S = 0.03
_RETAIN_TABLES_S = 60.0  # for which a rollout may have no proxy of a namespace connected, and its view is not worked out anew
_STOPPED_EARLY = "stopped before anything was served"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a control plane can be reached, as ``host:port``."""

    xds: str
    admin: str
    health: str | None
    webhook: str | None = None
    xds_tls: str | None = None
    xds_mtls: str | None = None


class ControlPlane:
    """One control plane: everything between the sources and the proxies.

    Objects go from the sources to the update loop, from there into the mesh, and what the mesh publishes goes to the subscribers, which are
    the streams of the server. Everything else is connected to this line: issuers' keys and identities hand facts to the update loop too;
    the pages, and what is written back to an API server, ask what became of all that.
    """

    def __init__(self, settings: Settings, client: Client | None = None) -> None:
        """Make one by ``settings``, with a ``client`` where Kubernetes is a source; nothing is opened yet."""
        self._settings = settings
        self._api = api_server(client, settings.kubernetes, settings) if settings.kubernetes and client else None
        revision = settings.kubernetes.injection.revision if settings.kubernetes else DEFAULT_REVISION
        self._mesh = Mesh(revision, settings.hold_unknown_s, _RETAIN_TABLES_S, settings.envoy_filters)
        observes = bool(self._api and not self._api.settings.replica)
        self._registrar = WorkloadRegistrar(self._mesh.object, settings.reports.grace_s, observes=observes) if settings.identity else None
        self._sources = Sources(list(sources_of(settings, self._api, self._registrar)))
        self._issuers = jwks.jwks_refresher(settings.jwks)
        self._modules = Modules(settings.modules, self._sources.secrets, self._api)
        self._updates = UpdateLoop(self._mesh, self._sources.names, self._issuers, identified=settings.authenticates, modules=self._modules)
        self._subscribers = Subscribers(self._mesh, self._updates.wake)
        self._observability = Observability(settings.traces, self._updates, self._subscribers)
        self._refused = RefusedCallers()
        at_fault = partial(fields_at_fault, self._mesh, self._subscribers)
        on_refusal = partial(withdraw_patches, self._mesh, self._subscribers, self._updates.wake)
        self.faults = FaultInjector(self._updates.submit, self._subscribers, lambda: self._updates.refreshes)
        self._recorder = StreamRecorder(self._registrar, at_fault, on_refusal, self.faults.changed)
        self._drills = Drills(self._mesh, self._subscribers.sessions, self.faults, self._recorder.loads.rows)
        self._server = DiscoveryServer(self._subscribers, self._updates.synced, _stream_factories(), self._recorder)
        self._identities: Identities | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # that it runs in
        self._write_back = self._new_write_back(self._api) if self._api else None
        self._admin_servers = self._new_admin_servers()
        self._problem_log = ProblemLog(self._mesh, self._sources.locations, lambda: self._updates.refreshes)

    @property
    def draining(self) -> bool:
        """Return whether no new streams are taken any more."""
        return self._server.draining

    @property
    def identity_server(self) -> IdentityServer | None:
        """Return what issues identities, where that is configured."""
        return self._identities.identity_server if self._identities else None

    @property
    def refreshes(self) -> int:
        """Return how often the mesh was brought up to date."""
        return self._updates.refreshes

    async def run(self, stop: asyncio.Event, announce: Callable[[Addresses], None] | None = None) -> None:
        """Serve until ``stop`` is set, then end the streams one by one.

        ``announce`` gets the addresses as soon as all ports are open. Raises OSError where a port cannot be opened.
        """
        self._loop = asyncio.get_running_loop()
        addresses = await unless_stopped(self._open(), stop)
        if addresses is None:
            log.info(_STOPPED_EARLY)
            return
        async with asyncio.TaskGroup() as tasks:
            endless = (
                self._updates.run(self.faults.published(self._subscribers.publish), self._subscribers.turns.all_woken),
                self.faults.run(),
                self._drills.run(),
                self._issuers.run(lambda keys: self._updates.submit("issuers", jwks.facts(keys))),
                self._modules.run(self._updates.submit),
                collect_when_quiet(self._turnover),
                self._observability.run(),
                self._problem_log.run(self._updates.synced),
                self._sources.run(self._updates.submit),
                *(task.run() for task in self._background()),
            )
            work = [tasks.create_task(coroutine) for coroutine in endless]
            http_servers = [*self._admin_servers, *self._webhooks()]
            for http_server in http_servers:
                tasks.create_task(http_server.run())
            if announce:
                announce(addresses)
            await stop.wait()
            log.info("stopping")
            await self._drills.stop()
            await self._server.stop(self._settings.grace_s, random.random)
            for http_server in http_servers:
                http_server.stop()
            for task in work:
                task.cancel()
        log.info("stopped")

    async def _open(self) -> Addresses:
        self._identities = await open_identities(self._settings, self._api, self._mesh, self._updates, self._sources.secrets)
        listen_addresses = self._listen_addresses()
        try:
            self._modules.open(self.identity_server)
            admin, *health = [http_server.open() for http_server in self._admin_servers]
            webhook = [http_server.open() for http_server in self._webhooks()]
            ports = await self._server.start(listen_addresses.values(), self.identity_server.secrets if self.identity_server else None)
        except (OSError, asyncio.CancelledError):
            for http_server in (*self._admin_servers, *self._webhooks()):
                http_server.close()
            self._modules.close()
            raise
        addresses = Addresses(
            admin=admin, health=health[0] if self._settings.health else None, webhook=webhook[0] if webhook else None, xds=""
        )
        opened = zip(listen_addresses.items(), ports, strict=True)
        return replace(
            addresses, **{name: f"{listen_address.address.rpartition(':')[0]}:{port}" for (name, listen_address), port in opened}
        )

    def _listen_addresses(self) -> dict[str, ListenAddress]:
        settings = self._settings
        listen_addresses = {"xds": ListenAddress(settings.xds, PlaintextAuthenticator(self._refused), option="--xds")}
        if self._identities and settings.identity and self._registrar:
            services = (health_service(self._registrar), load_service(self._recorder.loads, settings.reports.load_interval_s))
            identity_server = self._identities.identity_server
            listen_addresses |= identity_server.listen_addresses(
                settings.identity.xds_tls, settings.identity.xds_mtls, services, self._refused
            )
        return listen_addresses

    def _background(self) -> tuple[BackgroundTask, ...]:
        write_back_tasks = self._write_back.tasks if self._write_back else ()
        if self._api and self._api.settings.replica:
            write_back_tasks = (*write_back_tasks, SystemNamespace(self._api.client, self._api.settings.system_namespace))
        return (*write_back_tasks, *(self._identities.tasks if self._identities else ()))

    def _webhooks(self) -> tuple[HttpServer, ...]:
        return (self._write_back.webhook,) if self._write_back and self._write_back.webhook else ()

    def _new_write_back(self, api: ApiServer) -> WriteBack:
        proxies = ProxyProgress(self._subscribers, self._recorder.fleet, self._updates)
        status = self._drills.status(status_inputs(api, self._mesh, self._updates, proxies, lambda: published_identity(self._identity())))
        entries = entries_of(api, self._registrar, self._settings.reports.grace_s) if self._registrar else None
        return write_back(api, status, entries, self._mesh.proxy_configs, partial(patches_at_start, self._mesh.database))

    def _new_admin_servers(self) -> tuple[HttpServer, ...]:
        state = AdminState(
            mesh=self._mesh,
            proxies=lambda only: self._recorder.proxies(self._mesh.deferrals_from(self._subscribers.sessions()), only),
            sessions=self._subscribers.sessions,
            locations=self._sources.locations,
            not_ready=self._not_ready,
            refreshes=lambda: self._updates.refreshes,
            observed=self._drills.with_metrics(self._observability.metrics),
            tasks=lambda: len(asyncio.all_tasks(self._loop)) if self._loop else 0,
            standings=ProxyProgress(self._subscribers, self._recorder.fleet, self._updates),
            held_back=lambda: len(self._updates.held_back),
            fleet_problems=self._fleet_problems,
            fleet_problems_version=self._fleet_problems_version,
            rejects=lambda: self._recorder.fleet.rejects,
            kubernetes=self._write_back.state if self._write_back else None,
            identity=self._identity,
            issuers=lambda: jwks.issuer_rows(self._issuers.states()),
            fetches=lambda: self._issuers.outcomes,
            load=self._recorder.load,
            load_totals=lambda: self._recorder.loads.totals,
            refused_callers=lambda: refused_caller_rows(self._refused),
            callers_refused=self._refused.counts_by_name,
            history=self._observability.history.state,
            proxies_version=lambda: (self._recorder.fleet.changes, self._updates.holds),
            modules=self._modules.rows,
            module_fetches=lambda: self._modules.outcomes,
        )
        admin = HttpServer(admin_app(state, self._settings.admin_hosts), self._settings.admin, option="--admin")
        health = self._settings.health
        more = [HttpServer(health_app(state), health, option="--health")] if health else []
        return (admin, *more, *([self._drills.server(self._settings.drills)] if self._settings.drills else []))

    def _identity(self) -> IdentityRow | None:
        return identity_row(self._identities, self._refused) if self._identities else None

    def _fleet_problems(self) -> Iterator[Sequence[Problem]]:
        """Yield what proxies refuse, which of them are of other versions or lack extensions, and what the API server refuses."""
        yield from refusal_problems(self._subscribers, self._recorder.fleet)
        yield from version_problems(self._subscribers, counting=self._mesh.counted_workloads.wanted)
        yield from (*missing_extensions(self._mesh.database, self._subscribers), self._drills.problems())
        if self._write_back:
            yield self._write_back.state.problems()

    def _fleet_problems_version(self) -> object:
        unwritten = self._write_back.state.problems() if self._write_back else ()
        return self._recorder.fleet.refusal_events, self._turnover(), unwritten, self._drills.runs.version

    def _turnover(self) -> int:
        return self._updates.refreshes + self._subscribers.departures

    def _not_ready(self) -> str | None:
        if self._server.draining:
            return "this control plane is stopping"
        if self._updates.synced.is_set():
            return self._write_back.not_ready() if self._write_back else None
        reasons = self._sources.not_ready()
        if not self._issuers.settled:
            reasons.append("keys of token issuers have not been fetched yet")
        return "; ".join(reasons) or "not every source has been read yet"


async def run_until_signalled(settings: Settings, announce: Callable[[Addresses], None]) -> None:
    """Run a control plane by ``settings`` until this process gets a signal to end (SIGTERM, SIGINT)."""
    give_large_blocks_back()
    sys.setswitchinterval(_SWITCH_S)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        client = None
        if settings.kubernetes:
            connection = connect(KubernetesAccess(settings.kubernetes.kubeconfig, settings.kubernetes.context))
            client = await unless_stopped(stack.enter_async_context(connection), stop)
            if client is None:
                log.info(_STOPPED_EARLY)
                return
        await ControlPlane(settings, client).run(stop, announce)


def _stream_factories() -> StreamFactories:
    shared = SharedPlans()
    return StreamFactories(
        lambda view, only: SotwStream(view, only=only, shared=shared),
        lambda view, only: DeltaStream(view, only=only, shared=shared),
    )
