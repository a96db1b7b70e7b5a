"""What the replicas of the control plane publish for each other, in a ConfigMap each: how far objects have come with its proxies."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

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
_SILENT_S = 15.0  # a replica whose Lease has not changed for so long is gone: it is renewed every 2 s
_LOOK_S = 0.5
_UNOBSERVED_S = 5.0  # between two looks, after which everybody's time begins anew


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
        self._observed = ObservedLeases()

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
        live = self._observed.alive(leases) - {self._own.pod}
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
        others = (replica_info(pod, leases[pod]) for pod in sorted(self._observed.alive(leases) - {self._own.pod}))
        why_not = why_not_leader(self._own, others, replica_info("", lease))
        if why_not and why_not != self._why_not:
            log.warning("this replica does not lead", extra={"pod": self._own.pod, "reason": why_not})
        self._why_not = why_not
        return why_not is None

    async def observe(self) -> None:
        """Look at who lives: whoever comes to lead knows then who has been silent, and for how long."""
        leases, _ = await _replicas(self._client, self._home)
        self._observed.alive(leases)

    async def _remove(self, pod: str) -> None:
        log.info("replica is gone", extra={"pod": pod})
        for path in (CONFIG_MAPS.path(self._home, CONFIG_MAP_PREFIX + pod), LEASES.path(self._home, LEASE_PREFIX + pod)):
            try:
                await self._client.delete(path)
            except StatusError as error:
                if not error.not_found:
                    raise


class _ObservedLease(NamedTuple):
    renewal: str  # what it said last, nothing where nobody holds it
    since: float  # of the monotonic clock
    changed: bool = False  # since it was seen first


class ObservedLeases:
    """Which replicas live: those whose Leases change, as seen by this machine's monotonic clock alone.

    What a Lease says of the time of its renewal is by the clock of another node, which may be minutes off.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Observe by ``clock``; a Lease that is seen for the first time counts as renewed at that moment."""
        self._clock = clock
        self._leases: dict[str, _ObservedLease] = {}  # by pod
        self._looked_at = -math.inf

    def alive(self, leases: Mapping[str, Json]) -> set[str]:
        """Return the pods that live, by their ``leases`` as they are now."""
        now, known = self._clock(), self._leases
        if now - self._looked_at > _UNOBSERVED_S:
            known = {}  # if nobody could be asked, nobody could renew anything
        self._looked_at = now
        self._leases = {pod: _observed(known.get(pod), _renewal(lease), now) for pod, lease in leases.items()}
        return {pod for pod, lease in self._leases.items() if lease.renewal and now - lease.since < _SILENT_S}

    @property
    def settled(self) -> bool:
        """Return whether all are known to live or not to: each has been seen to be renewed, or was silent for long."""
        return all(lease.changed or not lease.renewal or self._looked_at - lease.since >= _SILENT_S for lease in self._leases.values())


def _observed(known: _ObservedLease | None, renewal: str, now: float) -> _ObservedLease:
    if known is None:
        return _ObservedLease(renewal, now)
    return known if known.renewal == renewal else _ObservedLease(renewal, now, changed=True)


async def replica_identities(client: Client, home: str, observed: ObservedLeases) -> Mapping[str, str]:
    """Return what each replica in ``home`` that lives, by what was ``observed``, has told of the authority, nothing where it is yet to."""
    leases, published = await _replicas(client, home)
    return {pod: text(published.get(pod, {}), _IDENTITY) for pod in sorted(observed.alive(leases))}


async def settled_replica_identities(client: Client, home: str) -> Mapping[str, str]:
    """Return the same for somebody who has not observed anything before: some seconds later, or as many as a replica may be silent."""
    observed = ObservedLeases()
    while True:
        found = await replica_identities(client, home, observed)
        if observed.settled:
            return found
        await asyncio.sleep(_LOOK_S)


async def _replicas(client: Client, home: str) -> tuple[Mapping[str, Json], Mapping[str, Json]]:
    """Return by pod the Leases of the replicas, and what is in their ConfigMaps."""
    leases = {
        name.removeprefix(LEASE_PREFIX): lease for name, lease in _by_name(await client.get(LEASES.path(home))) if LEASE_PREFIX in name
    }
    maps = await client.get(CONFIG_MAPS.path(home), labelSelector=f"{_LABEL}=true")
    return leases, {name.removeprefix(CONFIG_MAP_PREFIX): section(config_map, "data") for name, config_map in _by_name(maps)}


def _by_name(listed: Json) -> list[tuple[str, Json]]:
    return [(text(section(entry, "metadata"), "name"), entry) for entry in items(listed)]


def _renewal(lease: Json) -> str:
    """Return what differs each time that ``lease`` is renewed; nothing where nobody holds it."""
    return text(section(lease, "metadata"), "resourceVersion") if text(section(lease, "spec"), "holderIdentity") else ""
