"""What the replicas of the control plane tell each other: each how far the objects have come with its own proxies, in a ConfigMap."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Iterable, Mapping

import orjson

from controlplane.fleet.standing import Standing, read
from controlplane.kube.client import Client
from controlplane.kube.errors import Refused
from controlplane.kube.json import Json, items, section, text
from controlplane.kube.resources import CONFIG_MAPS, LEASES
from controlplane.model.keys import Key

log = logging.getLogger(__name__)

FLEET = "navarch-fleet-"
REPLICA = "navarch-replica-"
_LABEL = "navarch.io/fleet"
_MAX_BYTES = 900_000  # a ConfigMap may have 1 MiB
_SILENT_S = 20.0  # a replica whose Lease is older is gone; clocks of nodes agree to within seconds


class Replicas:
    """The replicas, as ``pod`` in the namespace ``home`` sees them."""

    def __init__(self, client: Client, pod: str, home: str) -> None:
        """Begin with nothing told."""
        self._client = client
        self._pod = pod
        self._home = home
        self._told: bytes = b""

    async def tell(self, standings: Mapping[Key, Standing]) -> None:
        """Write what our proxies have into our ConfigMap, if it is another than before."""
        told = orjson.dumps({str(key): standings[key].row() for key in sorted(standings)})
        if told == self._told:
            return
        if len(told) > _MAX_BYTES:
            log.warning("fleet is too large to tell", extra={"bytes": len(told), "limit": _MAX_BYTES})
            told = b"{}"
        name = FLEET + self._pod
        metadata = {"name": name, "namespace": self._home, "labels": {_LABEL: "true"}}
        body: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"standings": told.decode()}}
        try:
            await self._client.replace(CONFIG_MAPS.path(self._home, name), body)
        except Refused as error:
            if not error.missing:
                raise
            await self._client.create(CONFIG_MAPS.path(self._home), body)
        self._told = told

    async def others(self) -> tuple[Mapping[str, Standing], ...]:
        """Return what the other replicas have told, of those that live; one that lives and has told nothing yet has seen nothing."""
        leases = await self._client.get(LEASES.path(self._home))
        living = {name.removeprefix(REPLICA) for name in _names(items(leases)) if name.startswith(REPLICA)} - {self._pod}
        living = {pod for pod in living if _lives(items(leases), REPLICA + pod)}
        if not living:
            return ()
        maps = await self._client.get(CONFIG_MAPS.path(self._home), labelSelector=f"{_LABEL}=true")
        told = {
            text(section(each, "metadata"), "name").removeprefix(FLEET): text(section(each, "data"), "standings") for each in items(maps)
        }
        return tuple(_standings(told.get(FLEET + pod, "{}")) for pod in sorted(living))


def _standings(told: str) -> Mapping[str, Standing]:
    try:
        found = orjson.loads(told)
    except orjson.JSONDecodeError:
        return {}
    rows = found.items() if isinstance(found, dict) else ()
    return {name: standing for name, row in rows if (standing := read(row))}


def _names(objects: Iterable[Json]) -> list[str]:
    return [text(section(each, "metadata"), "name") for each in objects]


def _lives(leases: Iterable[Json], name: str) -> bool:
    for each in leases:
        spec = section(each, "spec")
        if text(section(each, "metadata"), "name") == name and text(spec, "holderIdentity"):
            try:
                renewed = dt.datetime.fromisoformat(text(spec, "renewTime"))
            except ValueError:
                return False
            return time.time() - renewed.timestamp() < _SILENT_S
    return False
