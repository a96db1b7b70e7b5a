"""What the replicas of the control plane tell each other: each how far the objects have come with its own proxies, in a ConfigMap."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Mapping

import orjson

from controlplane.fleet.rollout import Rollout, rollout_from_row
from controlplane.kube.client import Client
from controlplane.kube.errors import StatusError
from controlplane.kube.json import Json, items, section, text
from controlplane.kube.resources import CONFIG_MAPS, LEASES
from controlplane.model.keys import Key

log = logging.getLogger(__name__)

CONFIG_MAP_PREFIX = "navarch-fleet-"
LEASE_PREFIX = "navarch-replica-"
_LABEL = "navarch.io/fleet"
_IDENTITY = "identity"
_MAX_BYTES = 900_000  # a ConfigMap may have 1 MiB
_SILENT_S = 15.0  # a replica whose Lease is older is gone: it is renewed every 2 s, and clocks of nodes agree to within seconds


class Replicas:
    """The replicas, as ``pod`` in the namespace ``home`` sees them."""

    def __init__(self, client: Client, pod: str, home: str) -> None:
        """Begin with nothing told."""
        self._client = client
        self._pod = pod
        self._home = home
        self._told: Mapping[str, str] = {}

    async def tell(self, standings: Mapping[Key, Rollout], identity: str) -> None:
        """Write what our proxies have into our ConfigMap, ``identity`` for what concerns the authority, if it is another than before."""
        rows = orjson.dumps({str(key): standings[key].row() for key in sorted(standings)}).decode()
        if len(rows) > _MAX_BYTES:
            log.warning("fleet is too large to tell", extra={"bytes": len(rows), "limit": _MAX_BYTES})
            rows = "{}"
        told = {"standings": rows, _IDENTITY: identity}
        if told == self._told:
            return
        name = CONFIG_MAP_PREFIX + self._pod
        metadata = {"name": name, "namespace": self._home, "labels": {_LABEL: "true"}}
        body: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {**told}}
        try:
            await self._client.replace(CONFIG_MAPS.path(self._home, name), body)
        except StatusError as error:
            if not error.not_found:
                raise
            await self._client.create(CONFIG_MAPS.path(self._home), body)
        self._told = told

    async def others(self) -> tuple[Mapping[str, Rollout], ...]:
        """Return what the other replicas have told, of those that live, and clear away what the others left; for the leader.

        A replica that lives and has told nothing yet has seen nothing.
        """
        leases, told = await _replicas(self._client, self._home)
        living = _living(leases) - {self._pod}
        for pod in sorted((leases.keys() | told.keys()) - living - {self._pod}):
            await self._clear(pod)
        return tuple(_standings(text(told.get(pod, {}), "standings")) for pod in sorted(living))

    async def _clear(self, pod: str) -> None:
        log.info("replica is gone", extra={"pod": pod})
        for path in (CONFIG_MAPS.path(self._home, CONFIG_MAP_PREFIX + pod), LEASES.path(self._home, LEASE_PREFIX + pod)):
            try:
                await self._client.delete(path)
            except StatusError as error:
                if not error.not_found:
                    raise


async def replica_identities(client: Client, home: str) -> Mapping[str, str]:
    """Return what each replica in the namespace ``home`` that lives has told of the authority, nothing where it is yet to tell."""
    leases, told = await _replicas(client, home)
    return {pod: text(told.get(pod, {}), _IDENTITY) for pod in sorted(_living(leases))}


async def _replicas(client: Client, home: str) -> tuple[Mapping[str, Json], Mapping[str, Json]]:
    """Return by pod the Leases of the replicas, and what is in their ConfigMaps."""
    leases = {name.removeprefix(LEASE_PREFIX): each for name, each in _named(await client.get(LEASES.path(home))) if LEASE_PREFIX in name}
    maps = await client.get(CONFIG_MAPS.path(home), labelSelector=f"{_LABEL}=true")
    return leases, {name.removeprefix(CONFIG_MAP_PREFIX): section(each, "data") for name, each in _named(maps)}


def _living(leases: Mapping[str, Json]) -> set[str]:
    now = time.time()
    return {pod for pod, lease in leases.items() if _lives(lease, now)}


def _standings(told: str) -> Mapping[str, Rollout]:
    try:
        found = orjson.loads(told)
    except orjson.JSONDecodeError:
        return {}
    rows = found.items() if isinstance(found, dict) else ()
    return {name: standing for name, row in rows if (standing := rollout_from_row(row))}


def _named(listed: Json) -> list[tuple[str, Json]]:
    return [(text(section(each, "metadata"), "name"), each) for each in items(listed)]


def _lives(lease: Json, now: float) -> bool:
    spec = section(lease, "spec")
    try:
        return bool(text(spec, "holderIdentity")) and now - dt.datetime.fromisoformat(text(spec, "renewTime")).timestamp() < _SILENT_S
    except ValueError:
        return False
