"""The whole of it: a pod, its namespace and the settings in; the pod with a proxy in it out, or why there is none. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import orjson

from controlplane.inject import annotations as say
from controlplane.inject.container_merge import merged_container
from controlplane.inject.iptables_args import check_status_port
from controlplane.inject.json_patch import json_patch
from controlplane.inject.pod import PROXY_CONTAINER, BadPod, CandidatePod, candidate_pod
from controlplane.inject.policy import REVISION_LABEL, PodNamespace, reason_not_to_inject
from controlplane.inject.probes import rewritten_containers
from controlplane.inject.prometheus import scrape_settings
from controlplane.inject.sidecar import (
    INIT_CONTAINER,
    PROXY_USER,
    InjectionPlan,
    init_container,
    proxy_container,
    proxy_volumes,
    secret_annotations,
)
from controlplane.kube.json import Json, items, section, text
from controlplane.objects.networking.proxy_config import ProxySettings
from controlplane.settings import InjectionSettings

_RUNS, _STARTS = "containers", "initContainers"
_NOTHING_SAID = ProxySettings()
_DEFAULT_CONTAINER = ("kubectl.kubernetes.io/default-logs-container", "kubectl.kubernetes.io/default-container")


@dataclass(frozen=True, slots=True)
class NotInjected:
    """A pod that gets no proxy."""

    why: str


@dataclass(frozen=True, slots=True)
class Injected:
    """A pod with a proxy, what was done to it, and what it said in vain."""

    pod: Json
    patch: tuple[Json, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InjectionRefused:
    """A pod that wants a proxy in a way that cannot be."""

    problems: tuple[str, ...]


InjectionOutcome: TypeAlias = NotInjected | Injected | InjectionRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectionContext:
    """What injection goes by, besides the pod and its namespace."""

    settings: InjectionSettings
    defaults: ProxySettings = _NOTHING_SAID  # of the mesh
    has_native_sidecars: bool = True  # the cluster starts init containers that go on running


def inject(data: Json, namespace: PodNamespace, mesh: InjectionContext, part_of: str = "") -> InjectionOutcome:
    """Return what becomes of the pod ``data`` in ``namespace`` of ``mesh``, or of the template of the workload that it is ``part_of``."""
    try:
        found = candidate_pod(data, namespace.name, part_of)
        if why := _is_done(found) or reason_not_to_inject(found, namespace, mesh.settings):
            return NotInjected(why)
        if problems := tuple(found.annotations.problems()) or tuple(_clashes(found)):
            return InjectionRefused(problems)
        made = _injected(found, mesh)
    except BadPod as error:
        return InjectionRefused(error.problems)
    warnings = (*found.annotations.in_vain(), *scrape_settings(found.annotations).warnings, *_doubts(found))
    return Injected(made, json_patch(data, made), warnings)


def _is_done(pod: CandidatePod) -> str | None:
    """Return that there is a proxy already, if there is: its annotation says so, and the container is there."""
    if say.STATUS.name in pod.annotations.said and any(each["name"] == PROXY_CONTAINER for each in (*pod.containers, *pod.init_containers)):
        return "it has one already"
    return None


def _injected(pod: CandidatePod, mesh: InjectionContext) -> Json:
    plan = _plan(pod, mesh)
    check_status_port(plan.status_port)
    containers = {f"spec.{_RUNS}[{at}]": each for at, each in enumerate(pod.containers)}
    containers |= {f"spec.{_STARTS}[{at}]": each for at, each in enumerate(pod.init_containers)}
    own = {path: containers.pop(path) for path, each in tuple(containers.items()) if each["name"] == PROXY_CONTAINER}  # one at most
    plan = replace(plan, own=next((section(each, "resources") for each in own.values()), {}))
    if plan.said.get(say.REWRITE_PROBES) is not False:
        containers, probes = rewritten_containers(containers, plan.status_port)
        plan = replace(plan, probes=probes)
    sidecar = proxy_container(plan)
    for path, each in own.items():
        sidecar = merged_container(sidecar, {name: value for name, value in each.items() if name != "restartPolicy"}, path)
    starts, runs = _placed(plan, sidecar, containers)
    spec = {
        **pod.spec,
        _RUNS: runs,
        **({_STARTS: starts} if starts else {}),
        "volumes": [*items(pod.spec, "volumes"), *proxy_volumes(plan)],
    }
    return {**pod.data, "metadata": _metadata(plan, starts, runs), "spec": spec}


def _plan(pod: CandidatePod, mesh: InjectionContext) -> InjectionPlan:
    own = pod.annotations.get(say.PROXY_CONFIG) or ProxySettings()
    plan = InjectionPlan(
        pod=pod,
        settings=mesh.settings,
        config=own.with_defaults(mesh.defaults),
        native=_is_native(pod, mesh),
        metrics=scrape_settings(pod.annotations).application,
    )
    return replace(plan, native=False) if plan.router else plan  # a gateway is what its pod is for


def _is_native(pod: CandidatePod, mesh: InjectionContext) -> bool:
    for wish in (pod.annotations.get(say.NATIVE_SIDECAR), mesh.settings.native_sidecars):
        if wish is not None:
            return wish
    return mesh.has_native_sidecars


def _placed(plan: InjectionPlan, sidecar: Json, containers: Mapping[str, Json]) -> tuple[list[Json], list[Json]]:
    """Return the init containers and the containers of the pod: its own ``containers``, and ours where they have to be."""
    runs, starts = ([each for path, each in containers.items() if path.startswith(f"spec.{kind}[")] for kind in (_RUNS, _STARTS))
    made = init_container(plan)
    redirects = [made] if made else []
    if plan.native:
        return [*redirects, sidecar, *starts], runs
    held = plan.config.hold_application_until_proxy_starts
    return [*starts, *redirects], [sidecar, *runs] if held else [*runs, sidecar]


def _metadata(plan: InjectionPlan, starts: list[Json], runs: list[Json]) -> Json:
    """Return the metadata of the pod, with Istio's labels, and what was added to it."""
    found, ours = section(plan.pod.data, "metadata"), {PROXY_CONTAINER, INIT_CONTAINER}
    labels = {
        **({} if plan.router else {"security.istio.io/tlsMode": "istio"}),  # what comes to a gateway says itself whether it is TLS
        "service.istio.io/canonical-name": _canonical_name(plan.pod),
        "service.istio.io/canonical-revision": _canonical_revision(plan.pod),
        REVISION_LABEL: plan.settings.revision,
    }
    status = {
        "initContainers": [each["name"] for each in starts if each["name"] in ours],
        "containers": [each["name"] for each in runs if each["name"] in ours],
        "volumes": [each["name"] for each in proxy_volumes(plan)],
        "imagePullSecrets": None,
        "revision": plan.settings.revision,
    }
    application = next((each["name"] for each in plan.pod.applications), PROXY_CONTAINER)
    annotations = dict.fromkeys(_DEFAULT_CONTAINER, application) | dict(plan.pod.annotations.said)
    annotations |= scrape_settings(plan.said).annotations
    annotations |= secret_annotations(plan.settings) | {say.STATUS.name: orjson.dumps(status).decode()}
    return {**found, "annotations": annotations, "labels": {**labels, **plan.pod.labels}}


def _canonical_name(pod: CandidatePod) -> str:
    named = (pod.labels.get(each) for each in ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app"))
    return next(filter(None, named), pod.workload)[:63].rstrip("-_.")


def _canonical_revision(pod: CandidatePod) -> str:
    named = (pod.labels.get(each) for each in ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"))
    return next(filter(None, named), "latest")


def _clashes(pod: CandidatePod) -> Iterator[str]:
    """Yield what the pod has under a name that injection needs."""
    if any(each["name"] == INIT_CONTAINER for each in (*pod.containers, *pod.init_containers)):
        yield f"spec.initContainers: {INIT_CONTAINER} is there already, and not from us"
    if sum(each["name"] == PROXY_CONTAINER for each in (*pod.containers, *pod.init_containers)) > 1:
        yield f"spec.containers: expected {PROXY_CONTAINER} at most once"
    taken = {text(each, "name") for each in items(pod.spec, "volumes")}
    wanted = {
        "istio-token",
        "istiod-ca-cert",
        "istio-podinfo",
        *(text(each, "name") for each in pod.annotations.get(say.USER_VOLUME) or ()),
    }
    for each in sorted(taken & wanted):
        yield f"spec.volumes: {each} is there already, and not from us"


def _doubts(pod: CandidatePod) -> Iterator[str]:
    """Yield what lets traffic past the proxy, though nothing says that it should."""
    whole = section(pod.spec, "securityContext").get("runAsUser")
    for each in pod.applications:
        if section(each, "securityContext").get("runAsUser", whole) == PROXY_USER:
            yield f"container {each['name']} runs as user {PROXY_USER}: its traffic passes by the proxy"
