"""What the replicas of the control plane publish for each other, in a ConfigMap each: how far objects have come with its proxies."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Mapping

import orjson

from controlplane.fleet.rollout import Rollout, rollout_from_row
from controlplane.kube.client import Client
from controlplane.kube.errors import StatusError
from controlplane.kube.resources import CONFIG_MAPS, LEASES
from controlplane.model.keys import Key
from controlplane.untyped import Json, items, section, text

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
        """Publish for ``pod``, in the namespace ``home``."""
        self._client = client
        self._pod = pod
        self._home = home
        self._published: Mapping[str, str] = {}

    async def publish(self, standings: Mapping[Key, Rollout], identity: str) -> None:
        """Write what our proxies have into our ConfigMap, ``identity`` for what concerns the authority, if it has changed."""
        rows = orjson.dumps({str(key): standings[key].row() for key in sorted(standings)}).decode()
        if len(rows) > _MAX_BYTES:
            log.warning("fleet is too large to tell", extra={"bytes": len(rows), "limit": _MAX_BYTES})
            rows = "{}"
        content = {"standings": rows, _IDENTITY: identity}
        if content == self._published:
            return
        name = CONFIG_MAP_PREFIX + self._pod
        metadata = {"name": name, "namespace": self._home, "labels": {_LABEL: "true"}}
        body: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {**content}}
        try:
            await self._client.replace(CONFIG_MAPS.path(self._home, name), body)
        except StatusError as error:
            if not error.not_found:
                raise
            await self._client.create(CONFIG_MAPS.path(self._home), body)
        self._published = content

    async def other_rollouts(self) -> tuple[Mapping[str, Rollout], ...]:
        """Return what the other replicas have told, of those that live, and clear away what the others left; for the leader.

        A replica that lives and has told nothing yet has seen nothing.
        """
        leases, published = await _replicas(self._client, self._home)
        live = _live_replicas(leases) - {self._pod}
        for pod in sorted((leases.keys() | published.keys()) - live - {self._pod}):
            await self._remove(pod)
        return tuple(_standings(text(published.get(pod, {}), "standings")) for pod in sorted(live))

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


def _standings(rows_json: str) -> Mapping[str, Rollout]:
    try:
        decoded = orjson.loads(rows_json)
    except orjson.JSONDecodeError:
        return {}
    rows = decoded.items() if isinstance(decoded, dict) else ()
    return {name: standing for name, row in rows if (standing := rollout_from_row(row))}


def _by_name(listed: Json) -> list[tuple[str, Json]]:
    return [(text(section(entry, "metadata"), "name"), entry) for entry in items(listed)]


def _is_alive(lease: Json, now: float) -> bool:
    spec = section(lease, "spec")
    try:
        return bool(text(spec, "holderIdentity")) and now - dt.datetime.fromisoformat(text(spec, "renewTime")).timestamp() < _SILENT_S
    except ValueError:
        return False
