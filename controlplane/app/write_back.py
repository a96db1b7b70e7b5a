"""Puts together what is written to the API server that objects are read from: the leader's Lease, status, WorkloadEntries, the webhook."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from controlplane.admin.http_server import HttpServer
from controlplane.admin.state import KubernetesState
from controlplane.app.api_server import ApiServer, BackgroundTask
from controlplane.app.registrar import WorkloadRegistrar
from controlplane.app.update_loop import UpdateLoop
from controlplane.fleet.rollout import Rollout, Standing
from controlplane.fleet.streams import Fleet
from controlplane.mesh.mesh import Mesh
from controlplane.model.keys import Key
from controlplane.objects.networking.proxy_configs import ProxyConfigs
from controlplane.serve.xds.refusals import RefusalsByObject
from controlplane.serve.xds.subscribers import Subscribers
from controlplane.translate.patches.bootstrap import BootstrapPatch
from controlplane.webhooks.injector import Injector
from controlplane.webhooks.mutate import INJECT_NAMESPACE_PATH, INJECT_PATH
from controlplane.webhooks.registration import WebhookRegistration
from controlplane.webhooks.self_review import VALIDATOR, SelfReviews
from controlplane.webhooks.server import Webhook
from controlplane.webhooks.validate import validate
from controlplane.writeback.status import StatusInputs, StatusWriter
from controlplane.writeback.workload_entries import EntryOwner, WorkloadEntryWriter

DEFAULT_NAMESPACE = "default"  # which every cluster has, and nobody can delete


@dataclass(frozen=True, slots=True)
class WriteBack:
    """What runs as long as the control plane does, the webhook where there is one, and what the admin API shows of both."""

    tasks: tuple[BackgroundTask, ...]
    webhook: HttpServer | None
    state: KubernetesState
    not_ready: Callable[[], str | None] = lambda: None  # why the webhooks cannot be called here


class ProxyProgress:
    """How far objects have come among the proxies of this control plane."""

    def __init__(self, subscribers: Subscribers, fleet: Fleet, updates: UpdateLoop) -> None:
        """Ask ``subscribers`` and ``fleet``; ``updates`` knows since when objects are published, and what is held back."""
        self._subscribers = subscribers
        self._fleet = fleet
        self._updates = updates
        self._refusals = RefusalsByObject(subscribers, fleet)

    def rollout(self, key: Key) -> Rollout:
        """Return how far the object ``key`` has come."""
        since, now = self._updates.published_at.get(key, 0.0), time.time()
        lagging = partial(self._fleet.lagging, since=since, now=now)
        found = self._subscribers.rollout(key, partial(self._fleet.explain, key), lagging, self._refusals.of(key))
        held = self._updates.held_back.get(key)
        return replace(found, held_back=held.message) if held else found

    def standing(self, key: Key) -> Standing:
        """Return how far the object ``key`` has come, proxy by proxy; one that has just connected counts as any other."""
        lagging = partial(self._fleet.lagging, since=self._updates.published_at.get(key, 0.0), now=math.inf)
        found = self._subscribers.standing(key, partial(self._fleet.explain, key), lagging, self._refusals.of(key))
        held = self._updates.held_back.get(key)
        return replace(found, held_back=held.message if held else "", published=self._updates.is_published(key))

    async def look(self) -> None:
        """Look at what proxies refuse now, before ``rollout`` is asked of one object after the other."""
        await self._refusals.look()

    def counters(self) -> tuple[int, ...]:
        """Return counts of which one grows whenever proxies may have come further, or fallen back."""
        return self._subscribers.arrivals, self._subscribers.departures, self._fleet.refusal_events


def status_inputs(api: ApiServer, mesh: Mesh, updates: UpdateLoop, proxies: ProxyProgress, identity: Callable[[], str]) -> StatusInputs:
    """Return what the status of the objects of ``api`` is made of; ``identity`` is what others may know of the authority."""
    return StatusInputs(
        synced=updates.synced,
        objects=lambda: {
            key: record for key, record in api.source.store.records_with_status().items() if not mesh.is_for_another_revision(key)
        },
        collection=api.collection,
        look=proxies.look,
        cross_object_problems=mesh.problems_about,
        rollout=proxies.rollout,
        change_counters=lambda: (*proxies.counters(), updates.key_updates, updates.holds, updates.refreshes),
        identity=identity,
    )


def write_back(
    api: ApiServer,
    status: StatusInputs,
    entries: WorkloadEntryWriter | None,
    configs: Callable[[], ProxyConfigs],
    patches: Callable[[], tuple[BootstrapPatch, ...]],
) -> WriteBack:
    """Return what writes the ``status`` of objects and ``entries`` to ``api``, and answers it.

    Pods get proxies by ``configs``, which are started with the mesh's ``patches``.
    """
    client, settings = api.client, api.settings
    writer = StatusWriter(client, status, api.replica, api.leader, api.replicas)
    injector = Injector(client, settings, configs, patches)
    injecting = dict.fromkeys((INJECT_PATH, INJECT_NAMESPACE_PATH), injector.reviewer)
    webhook = Webhook({VALIDATOR.webhook_path: lambda path: partial(validate, path=path), **injecting})
    reviews = SelfReviews(client, settings.namespaces[0] if settings.namespaces else DEFAULT_NAMESPACE)
    state = KubernetesState(
        silences=api.source.silences,
        leads=lambda: api.leader.is_leader,
        status_writes=lambda: writer.writes,
        status_failures=lambda: writer.failures,
        problems=writer.problems,
        reviews=lambda: webhook.counts,
        reached=reviews.known,
    )
    if not settings.replica:
        return WriteBack((), None, state)
    tasks: tuple[BackgroundTask, ...] = (*api.leases, writer, *([entries] if entries else []))
    if not settings.webhook:
        return WriteBack(tasks, None, state)
    registration = WebhookRegistration(client, settings.system_namespace, api.leader, reviews)
    http_server = HttpServer(webhook, settings.webhook, lambda: registration.tls, option="--webhook")
    return WriteBack((*tasks, registration, injector, *webhook.processes), http_server, state, registration.not_ready)


def entries_of(api: ApiServer, registrar: WorkloadRegistrar, grace_s: float) -> WorkloadEntryWriter:
    """Return what keeps the WorkloadEntries that ``registrar`` wants, and deletes none in the first ``grace_s``."""
    place = EntryOwner(api.settings.pod, api.settings.system_namespace, grace_s, api.replica)
    return WorkloadEntryWriter(api.client, place, api.leader, registrar, api.source.store.entries)
