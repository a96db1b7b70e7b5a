"""Puts together what is written to the API server that objects are read from: the leader's Lease, status, WorkloadEntries, the webhook."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from controlplane.admin.http_server import HttpServer
from controlplane.admin.state import KubernetesState
from controlplane.app.api_server import ApiServer, BackgroundTask
from controlplane.app.registrar import WorkloadRegistrar
from controlplane.kube.lease import Lease
from controlplane.objects.networking.proxy_config import ProxySettings
from controlplane.webhooks.injector import Injector
from controlplane.webhooks.mutate import INJECT_NAMESPACE_PATH, INJECT_PATH
from controlplane.webhooks.registration import WebhookRegistration
from controlplane.webhooks.server import Webhook
from controlplane.webhooks.validate import validate
from controlplane.writeback.replicas import LEASE_PREFIX
from controlplane.writeback.status import StatusInputs, StatusWriter
from controlplane.writeback.workload_entries import EntryOwner, WorkloadEntryWriter


@dataclass(frozen=True, slots=True)
class WriteBack:
    """What runs as long as the control plane does, the webhook where there is one, and what the admin API shows of both."""

    tasks: tuple[BackgroundTask, ...]
    webhook: HttpServer | None
    state: KubernetesState


def write_back(
    api: ApiServer, status: StatusInputs, entries: WorkloadEntryWriter | None, defaults: Callable[[], ProxySettings]
) -> WriteBack:
    """Return what writes the ``status`` of objects and ``entries`` to ``api``, and answers it; pods get the ``defaults`` of the mesh."""
    client, settings = api.client, api.settings
    replica = Lease(client, (settings.system_namespace, LEASE_PREFIX + settings.pod), settings.pod, random.random)
    writer = StatusWriter(client, status, api.leader, settings.pod, settings.system_namespace)
    injector = Injector(client, settings, defaults)
    webhook = Webhook({"/validate": lambda _: validate, **dict.fromkeys((INJECT_PATH, INJECT_NAMESPACE_PATH), injector.reviewer)})
    state = KubernetesState(
        silences=api.source.silences,
        leads=lambda: api.leader.is_leader,
        status_writes=lambda: writer.writes,
        reviews=lambda: webhook.counts,
    )
    tasks: list[BackgroundTask] = [api.leader, replica, writer, *([entries] if entries else [])]
    if not settings.webhook:
        return WriteBack(tuple(tasks), None, state)
    registration = WebhookRegistration(client, settings.system_namespace, api.leader, lambda: bool(webhook.counts.total()))
    return WriteBack((*tasks, registration, injector), HttpServer(webhook, settings.webhook, registration.tls, option="--webhook"), state)


def entries_of(api: ApiServer, registrar: WorkloadRegistrar, grace_s: float) -> WorkloadEntryWriter:
    """Return what keeps the WorkloadEntries that ``registrar`` wants, and deletes none in the first ``grace_s``."""
    place = EntryOwner(api.settings.pod, api.settings.system_namespace, grace_s)
    return WorkloadEntryWriter(api.client, place, api.leader, registrar, api.source.store.entries)
