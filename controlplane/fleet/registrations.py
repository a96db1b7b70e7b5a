"""Which workloads outside Kubernetes have registered themselves: each by its stream, as an instance of a WorkloadGroup.

A proxy whose metadata names a group (``AUTO_REGISTER_GROUP``, as Istio's do) is worth a WorkloadEntry while it has a stream, and a while
longer, so that one that comes back is missed by nobody. What the entry says comes from the group's template alone, but for the address: a
proxy cannot make itself an instance of something that the group is not.
https://istio.io/latest/docs/reference/config/networking/workload-group/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from controlplane.fleet.health_checks import health_check
from controlplane.ir.health_checks import HealthCheck
from controlplane.model.keys import WORKLOAD_ENTRY, WORKLOAD_GROUP, Key
from controlplane.model.proxies import Proxy
from controlplane.objects.networking.service_entry import HEALTH_CHECKED, HEALTHY, WorkloadSpec
from controlplane.objects.networking.workload_group import WorkloadGroup
from controlplane.objects.parse import Object

GROUP_ANNOTATION = "istio.io/autoRegistrationGroup"  # Istio's annotation of an entry that was not written by hand
_PEER = "security.istio.io/tlsMode"
_MAX_NAME = 253
_PAUSE_S = 5.0  # between two looks: the process was stopped, and reports that came meanwhile are yet to be read

Objects = Callable[[Key], Object | None]


@dataclass(slots=True)
class _RegisteredProxy:
    proxy: Proxy
    since: float
    streams: set[int]
    left_at: float | None = None  # None while it has a stream
    healthy: bool | None = None  # what its checks have found last
    heard_at: float = 0.0  # of them, or of the proxy


@dataclass(frozen=True, slots=True)
class RegisteredEntry:
    """A WorkloadEntry that there has to be: its spec, labels and annotations, as Kubernetes has them.

    ``healthy`` is what its checks have found: ``None`` where there are none, or, for a while, where nothing is known here yet, so that a
    proxy that has come from another replica keeps what was found there.
    """

    key: Key
    spec: Mapping[str, object]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    healthy: bool | None
    since: float

    @property
    def document(self) -> Mapping[str, object]:
        """Return it as Kubernetes has it."""
        metadata = {
            "name": self.key.name,
            "namespace": self.key.namespace,
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
        }
        document = {"apiVersion": f"{self.key.group}/v1", "kind": self.key.kind, "metadata": metadata, "spec": dict(self.spec)}
        if self.healthy is None:
            return document
        return {**document, "status": {"conditions": [{"type": HEALTHY, "status": str(self.healthy)}]}}


class Registrations:
    """Who is registered; times are seconds of one clock, which the callers read."""

    def __init__(self, grace_s: float) -> None:
        """Keep who has left for ``grace_s``."""
        self._grace_s = grace_s
        self._proxies: dict[str, _RegisteredProxy] = {}  # by node id
        self._listened_at: float | None = None

    def connected(self, connection: int, proxy: Proxy, at: float) -> bool:
        """Take in that ``proxy`` has opened ``connection``; return whether that is of any interest here."""
        if not proxy.group or proxy.identity is None:
            return False
        registered = self._proxies.get(proxy.id)
        if registered is None or registered.proxy != proxy:
            registered = self._proxies[proxy.id] = _RegisteredProxy(proxy, at, set())
        if not registered.streams:
            registered.since, registered.left_at, registered.heard_at = at, None, at
        registered.streams.add(connection)
        return True

    def disconnected(self, connection: int, at: float) -> bool:
        """Take in that ``connection`` is over; return whether that is of any interest here."""
        for registered in self._proxies.values():
            if connection in registered.streams:
                registered.streams.discard(connection)
                registered.left_at = None if registered.streams else at
                return True
        return False

    def health_checked(self, proxy: Proxy, at: float, *, healthy: bool) -> bool:
        """Take in what the checks of ``proxy`` have found, at the time ``at``; return whether that has changed."""
        registered = self._proxies.get(proxy.id)
        news = registered is not None and registered.proxy == proxy and registered.healthy != healthy
        if registered and registered.proxy == proxy:
            registered.healthy, registered.heard_at = healthy, at
        return news

    def entries(self, objects: Objects, now: float) -> Mapping[Key, RegisteredEntry]:
        """Return the entries that there have to be ``now``, by the groups among ``objects``; who left too long ago is forgotten."""
        over = [
            name
            for name, registered in self._proxies.items()
            if registered.left_at is not None and now - registered.left_at >= self._grace_s
        ]
        for name in over:
            del self._proxies[name]
        entries: dict[Key, RegisteredEntry] = {}
        self._forgive_silence(now)
        for registered in sorted(self._proxies.values(), key=lambda registered: registered.since):  # of two at one address, who came last
            group = group_of(registered.proxy, objects)
            if group is not None:
                silent = now - registered.heard_at >= self._grace_s  # health is reported each second
                entry = _entry(registered, group, healthy=False if silent else registered.healthy)
                entries[entry.key] = entry
        return entries

    def _forgive_silence(self, now: float) -> None:
        """Begin to wait anew for all reports, where it was this process that did not read them."""
        if self._listened_at is not None and now - self._listened_at > _PAUSE_S:
            for registered in self._proxies.values():
                registered.heard_at = max(registered.heard_at, now)
        self._listened_at = now

    def refused(self, objects: Objects) -> Mapping[str, str]:
        """Return why proxies that want to be registered are not, by their node ids."""
        return {name: reason for name, registered in sorted(self._proxies.items()) if (reason := refusal_reason(registered.proxy, objects))}

    def statuses(self, objects: Objects) -> Mapping[str, str]:
        """Return as which entry each proxy is registered by the groups among ``objects``, or why it is not, by their node ids."""
        return {name: _status(registered, objects) for name, registered in sorted(self._proxies.items())}


def _status(registered: _RegisteredProxy, objects: Objects) -> str:
    group = group_of(registered.proxy, objects)
    return str(_entry(registered, group, healthy=None).key) if group else f"not registered: {refusal_reason(registered.proxy, objects)}"


def group_of(proxy: Proxy, objects: Objects) -> WorkloadGroup | None:
    """Return the group among ``objects`` that ``proxy`` is an instance of, ``None`` if it has no right to be one."""
    group = objects(WORKLOAD_GROUP.key(proxy.namespace, proxy.group))
    return group if isinstance(group, WorkloadGroup) and not refusal_reason(proxy, objects) else None


def probe_of(proxy: Proxy, objects: Objects) -> HealthCheck | None:
    """Return how the health of ``proxy`` is checked, ``None`` if it is not."""
    group = group_of(proxy, objects)
    return health_check(group.spec.probe) if group and group.spec.probe else None


def refusal_reason(proxy: Proxy, objects: Objects) -> str:
    """Return why ``proxy`` is no instance of the group that it names, nothing if it is one."""
    key = WORKLOAD_GROUP.key(proxy.namespace, proxy.group)
    group = objects(key)
    if not isinstance(group, WorkloadGroup):
        return f"there is no {key}"
    account = group.spec.template.service_account or "default"
    who = proxy.identity
    if who is None or (who.namespace, who.service_account) != (key.namespace, account):
        return f"{key} is for the service account {account} of {key.namespace}"
    return "" if proxy.ips else "its node id has no address"


def _entry(registered: _RegisteredProxy, group: WorkloadGroup, *, healthy: bool | None) -> RegisteredEntry:
    proxy, template, meta = registered.proxy, group.spec.template, group.spec.metadata
    labels = group.spec.labels
    annotations = {**(meta.annotations if meta else {}), GROUP_ANNOTATION: group.key.name}
    checked = group.spec.probe is not None
    if checked:
        annotations[HEALTH_CHECKED] = "true"
    return RegisteredEntry(
        key=WORKLOAD_ENTRY.key(group.key.namespace, _name(group.key.name, proxy.ips[0], template.network)),
        spec=_spec(template, proxy, {_PEER: "istio", **labels}),  # it has an Envoy with an identity
        labels=labels,
        annotations=annotations,
        healthy=healthy if checked else None,
        since=registered.since,
    )


def _spec(template: WorkloadSpec, proxy: Proxy, labels: Mapping[str, str]) -> Mapping[str, object]:
    spec: dict[str, object] = {
        "address": proxy.ips[0],
        "labels": dict(sorted(labels.items())),
        "ports": dict(template.ports),
        "network": template.network,
        "locality": template.locality or proxy.locality,
        "weight": template.weight,
        "serviceAccount": template.service_account,
    }
    return {name: value for name, value in spec.items() if value}


def _name(group: str, address: str, network: str) -> str:
    """Return the name of an entry as Istio makes it, of what names may consist of."""
    parts = (group, address, network)
    name = "-".join(re.sub(r"[^a-z0-9.]+", "-", part.lower()).strip("-.") for part in parts if part)
    return name[-_MAX_NAME:].lstrip("-.")
