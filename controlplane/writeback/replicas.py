"""What the replicas of the control plane publish for each other, in a ConfigMap each: how far objects have come with its proxies."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Mapping

from controlplane.kube.client import Client
from controlplane.kube.errors import KubernetesError, StatusError
from controlplane.kube.resources import CONFIG_MAPS, LEASES
from controlplane.untyped import Json, items, section, text
from controlplane.writeback.candidates import ReplicaInfo, replica_info, why_not_leader
from controlplane.writeback.standings import Standings, standings

log = logging.getLogger(__name__)

CONFIG_MAP_PREFIX = "navarch-fleet-"
LEASE_PREFIX = "navarch-replica-"
_LABEL = "navarch.io/fleet"
_IDENTITY = "identity"
_SILENT_S = 15.0  # a replica whose Lease is older is gone: it is renewed every 2 s, and clocks of nodes agree to within seconds


class Replicas:
    """The replicas, as the replica ``own`` in the namespace ``home`` sees them."""

    def __init__(self, client: Client, own: ReplicaInfo, home: str) -> None:
        """Publish for ``own``, in the namespace ``home``."""
        self.pod = own.pod
        self._client = client
        self._own = own
        self._home = home
        self._published: Mapping[str, str] = {}
        self._apart: frozenset[str] = frozenset()  # replicas with other options, as the log knows them
        self._why_not: str | None = None

    async def publish(self, told: bytes, identity: str) -> None:
        """Write into our ConfigMap, if it has changed, what is to be ``told`` of our proxies, and ``identity`` for the authority."""
        content = {"standings": told.decode(), _IDENTITY: identity}
        if content == self._published:
            return
        name = CONFIG_MAP_PREFIX + self._own.pod
        metadata = {"name": name, "namespace": self._home, "labels": {_LABEL: "true"}}
        body: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {**content}}
        try:
            await self._client.replace(CONFIG_MAPS.path(self._home, name), body)
        except StatusError as error:
            if not error.not_found:
                raise
            await self._client.create(CONFIG_MAPS.path(self._home), body)
        self._published = content

    async def other_standings(self) -> tuple[Standings, ...]:
        """Return what the other replicas with our options have told, of those that live, and clear away what others left; for the leader.

        A replica that has told nothing yet has not read everything yet, and serves no proxies. What replicas with other options see is
        another mesh, and does not count.
        """
        leases, published = await _replicas(self._client, self._home)
        live = _live_replicas(leases) - {self._own.pod}
        for pod in sorted((leases.keys() | published.keys()) - live - {self._own.pod}):
            await self._remove(pod)
        apart = frozenset(pod for pod in live if replica_info(pod, leases[pod]).options != self._own.options)
        for pod in sorted(apart - self._apart):
            consequence = "its proxies are not counted, and it does not lead while replicas with the leader's options live"
            log.warning("replica has other options than the leader", extra={"pod": pod, "consequence": consequence})
        self._apart = apart
        found = (standings(text(published.get(pod, {}), "standings")) for pod in sorted(live - apart))
        return tuple(each for each in found if each is not None)

    async def may_lead(self, lease: Json) -> bool:
        """Return whether this replica may take the leader's ``lease``, which is free."""
        try:
            listed = dict(_by_name(await self._client.get(LEASES.path(self._home))))
        except KubernetesError as error:
            log.debug("replicas not known", extra={"reason": str(error)})
            return False
        leases = {name.removeprefix(LEASE_PREFIX): found for name, found in listed.items() if name.startswith(LEASE_PREFIX)}
        others = (replica_info(pod, leases[pod]) for pod in sorted(_live_replicas(leases) - {self._own.pod}))
        why_not = why_not_leader(self._own, others, replica_info("", lease))
        if why_not and why_not != self._why_not:
            log.warning("this replica does not lead", extra={"pod": self._own.pod, "reason": why_not})
        self._why_not = why_not
        return why_not is None

    async def _remove(self, pod: str) -> None:
        log.info("replica is gone", extra={"pod": pod})
        for path in (CONFIG_MAPS.path(self._home, CONFIG_MAP_PREFIX + pod), LEASES.path(self._home, LEASE_PREFIX + pod)):
            try:
                await self._client.delete(path)
            except StatusError as error:
                if not error.not_found:
                    raise


async def replica_identities(client: Client, home: str) -> Mapping[str, str]:
    """Return what each replica in the namespace ``home`` that lives has told of the authority, nothing where it is yet to tell."""
    leases, published = await _replicas(client, home)
    return {pod: text(published.get(pod, {}), _IDENTITY) for pod in sorted(_live_replicas(leases))}


async def _replicas(client: Client, home: str) -> tuple[Mapping[str, Json], Mapping[str, Json]]:
    """Return by pod the Leases of the replicas, and what is in their ConfigMaps."""
    leases = {
        name.removeprefix(LEASE_PREFIX): lease for name, lease in _by_name(await client.get(LEASES.path(home))) if LEASE_PREFIX in name
    }
    maps = await client.get(CONFIG_MAPS.path(home), labelSelector=f"{_LABEL}=true")
    return leases, {name.removeprefix(CONFIG_MAP_PREFIX): section(config_map, "data") for name, config_map in _by_name(maps)}


def _live_replicas(leases: Mapping[str, Json]) -> set[str]:
    now = time.time()
    return {pod for pod, lease in leases.items() if _is_alive(lease, now)}


def _by_name(listed: Json) -> list[tuple[str, Json]]:
    return [(text(section(entry, "metadata"), "name"), entry) for entry in items(listed)]


def _is_alive(lease: Json, now: float) -> bool:
    spec = section(lease, "spec")
    try:
        return bool(text(spec, "holderIdentity")) and now - dt.datetime.fromisoformat(text(spec, "renewTime")).timestamp() < _SILENT_S
    except ValueError:
        return False
