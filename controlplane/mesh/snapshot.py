"""Everything one proxy would be sent for a set of objects: what ``navarch translate`` prints and the golden files hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from controlplane.envoy.packing import expand
from controlplane.envoy.type_urls import CDS, ECDS, EDS, LDS, RDS, SDS
from controlplane.mesh.access.rate_limit_service import counted_rate_limits, counts_in
from controlplane.mesh.access.rate_limits import domain, limit_rules
from controlplane.mesh.mesh import Mesh
from controlplane.model.identity import Identity
from controlplane.model.problems import Problem
from controlplane.model.proxies import Proxy
from controlplane.objects.changes import Change, split
from controlplane.translate.filters.rate_limits.service_config import file_form, service_config
from controlplane.xds.stream import Variant

SECTIONS: Mapping[str, str] = {"listeners": LDS, "routes": RDS, "clusters": CDS, "endpoints": EDS, "secrets": SDS, "extensions": ECDS}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The resources of one proxy as proto3 JSON, by section and sorted by name, and the Problems between the objects."""

    resources: Mapping[str, tuple[Mapping[str, object], ...]]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class CountedDomains:
    """What the rate limit service is to count, each domain as a file that it reads, and the Problems of the objects that say so."""

    domains: tuple[Mapping[str, object], ...]
    problems: tuple[Problem, ...]


def counted_domains(changes: Iterable[Change]) -> CountedDomains:
    """Return what the rate limit services would be told to count if ``changes`` were all there is."""
    for_mesh, _ = split(changes)
    mesh = Mesh()
    mesh.apply(for_mesh)
    keys = counted_rate_limits(mesh.database)
    counted = (key for key in keys if counts_in(mesh.database, key) is not None)
    domains = tuple(file_form(service_config(domain(key), limit_rules(mesh.database, key))) for key in counted)
    return CountedDomains(domains, tuple(problem for key in keys for problem in mesh.problems_about(key)))


def snapshot(changes: Iterable[Change], proxy: Proxy, account: str | None = None) -> Snapshot:
    """Return what ``proxy`` would be sent if ``changes`` were all there is; routes are complete, as SotW streams get them.

    With ``account``, it comes with the identity of that service account in the mesh's trust domain; raises BadIdentity where that is none.
    """
    for_mesh, _ = split(changes)
    mesh = Mesh()
    mesh.apply(for_mesh)
    if account is not None:
        proxy = replace(proxy, identity=Identity(mesh.settings().trust_domain, proxy.namespace, account))
    session = mesh.connect(proxy, Variant.SOTW)
    mesh.refresh()
    view = session.view
    sections = {
        section: tuple(
            expand(type_url, resource.value)
            for _, resource in sorted({resource.name: resource for resource in view.resources(type_url)}.items())  # some are in two tables
        )
        for section, type_url in SECTIONS.items()
    }
    return Snapshot(sections, mesh.problems())
