"""The providers that Telemetries and the mesh's settings name, and the services that they are."""

from __future__ import annotations

from controlplane.incremental.database import Database, query
from controlplane.ir.telemetry.access_logs import ProviderAddress
from controlplane.ir.telemetry.listeners import Side
from controlplane.mesh.destinations.clusters import ClusterTarget
from controlplane.mesh.destinations.provider_clusters import provider_target
from controlplane.mesh.inputs import objects
from controlplane.mesh.shards import CLUSTER_DOMAIN
from controlplane.objects.mesh.extension_providers import ExtensionProvider
from controlplane.objects.mesh.mesh_config import MESH_CONFIG_KEY, MeshConfig, MeshConfigSpec
from controlplane.objects.mesh.telemetry_providers import ServiceProvider

# What the clusters that lead to them are for: those of either side stand in a table of their own, and no name stands in two.
_USES = {Side.CLIENT: "telemetry", Side.SERVER: "inbound-telemetry"}

# What there is without anybody's saying so.
BUILT_IN = tuple(
    ExtensionProvider.model_validate(written)
    for written in ({"name": "prometheus", "prometheus": {}}, {"name": "envoy", "envoyFileAccessLog": {}})
)


@query
def telemetry_provider(db: Database, name: str) -> ExtensionProvider | None:
    """Return the provider ``name``, in whatever case: one of the mesh's settings, or else one that is built in."""
    wanted = name.casefold()
    known = (*mesh_spec(db).extension_providers, *BUILT_IN)
    return next((provider for provider in known if provider.name.casefold() == wanted), None)


@query
def telemetry_target(db: Database, provider: ServiceProvider, side: Side) -> ClusterTarget | None:
    """Return the port of a service that ``provider`` is to listeners of ``side``; ``None`` where it is not there."""
    return provider_target(db, provider.service, provider.port, _USES[side])


def provider_address(db: Database, provider: ServiceProvider, side: Side) -> ProviderAddress | None:
    """Return how listeners of ``side`` reach ``provider``; ``None`` where its service is not there."""
    target = telemetry_target(db, provider, side)
    return ProviderAddress(target.name, provider.service.rpartition("/")[2]) if target else None


def service_at(db: Database, address: str) -> ServiceProvider:
    """Return the service at ``address``, ``HOST:PORT``, where its host may be written as a resolver of the cluster takes it."""
    host, _, port = address.rpartition(":")
    endings = ("", f".svc.{CLUSTER_DOMAIN}", f".{CLUSTER_DOMAIN}")
    places = [ServiceProvider(service=f"{host}{ending}".lower(), port=int(port)) for ending in endings]
    return next((place for place in places if telemetry_target(db, place, Side.CLIENT)), places[0])


def mesh_spec(db: Database) -> MeshConfigSpec:
    """Return the settings of the mesh as they are written, Istio's defaults where there are none."""
    mesh_config = objects(db, MESH_CONFIG_KEY)
    return mesh_config.spec if isinstance(mesh_config, MeshConfig) else MeshConfigSpec()
