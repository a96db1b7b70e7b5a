"""Injection as one function: a pod, its namespace and the settings in; the pod with a proxy, or why it gets none, out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import orjson

from controlplane.inject import annotations as keys
from controlplane.inject.container_merge import merged_container
from controlplane.inject.iptables_args import check_status_port, proxy_owner
from controlplane.inject.json_patch import json_patch
from controlplane.inject.pod import BadPod, CandidatePod, candidate_pod
from controlplane.inject.policy import PodNamespace, reason_not_to_inject
from controlplane.inject.probes import rewritten_containers
from controlplane.inject.prometheus import scrape_settings
from controlplane.inject.proxy_image import image_warnings
from controlplane.inject.sidecar import (
    INIT_CONTAINER,
    InjectionPlan,
    init_container,
    proxy_container,
    proxy_volumes,
    secret_annotations,
)
from controlplane.model.proxies import PROXY_CONTAINER
from controlplane.model.revisions import REVISION_LABEL
from controlplane.objects.networking.proxy_config import NO_SETTINGS
from controlplane.objects.networking.proxy_configs import ProxyConfigs
from controlplane.settings import InjectionSettings
from controlplane.translate.patches.bootstrap import BootstrapPatch
from controlplane.untyped import Json, items, section, text

_CONTAINERS, _INIT_CONTAINERS = "containers", "initContainers"
_NO_CONFIGS = ProxyConfigs()
_DEFAULT_CONTAINER = ("kubectl.kubernetes.io/default-logs-container", "kubectl.kubernetes.io/default-container")


@dataclass(frozen=True, slots=True)
class NotInjected:
    """A pod that gets no proxy."""

    reason: str


@dataclass(frozen=True, slots=True)
class Injected:
    """A pod with a proxy, the patch that adds it, and warnings of what had no effect."""

    pod: Json
    patch: tuple[Json, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InjectionRefused:
    """A pod that asks for a proxy in a way that is not possible."""

    problems: tuple[str, ...]


InjectionOutcome: TypeAlias = NotInjected | Injected | InjectionRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectionContext:
    """What injection goes by, besides the pod and its namespace."""

    settings: InjectionSettings
    configs: ProxyConfigs = _NO_CONFIGS  # of the mesh's proxies
    patches: tuple[BootstrapPatch, ...] = ()  # to what proxies are started with
    has_native_sidecars: bool = True  # the cluster init_containers init containers that go on running


def inject(data: Json, namespace: PodNamespace, context: InjectionContext, template_of: str = "") -> InjectionOutcome:
    """Return what becomes of the pod ``data`` in ``namespace``, by ``context``; it may be the template of the workload ``template_of``."""
    try:
        pod = candidate_pod(data, namespace.name, template_of)
        if why := _already_injected(pod) or reason_not_to_inject(pod, namespace, context.settings):
            return _intercepting_anew(pod, context) or NotInjected(why)
        if problems := tuple(pod.annotations.problems()) or tuple(_clashes(pod)):
            return InjectionRefused(problems)
        injected_pod = _injected(pod, context)
        plan = _plan(pod, context)
    except BadPod as error:
        return InjectionRefused(error.problems)
    warnings = (
        *pod.annotations.without_effect(),
        *scrape_settings(pod.annotations).warnings,
        *image_warnings(pod.annotations, plan.config, plan.settings.proxy_image, is_native=plan.is_native),
        *_bypasses(pod, injected_pod),
    )
    return Injected(injected_pod, json_patch(data, injected_pod), warnings)


def _already_injected(pod: CandidatePod) -> str | None:
    """Return that there is a proxy already, if there is: its annotation says so, and the container is there."""
    names = {container["name"] for container in (*pod.containers, *pod.init_containers)}
    if keys.STATUS.name in pod.annotations.raw and PROXY_CONTAINER in names:
        return "it has one already"
    return None


def _intercepting_anew(pod: CandidatePod, context: InjectionContext) -> Injected | None:
    """Return ``pod``, which has our containers, with rules for what others have made of it since; None where they hold."""
    proxies = [container for container in (*pod.containers, *pod.init_containers) if container["name"] == PROXY_CONTAINER]
    redirects = [container for container in pod.init_containers if container["name"] == INIT_CONTAINER]
    if keys.STATUS.name not in pod.annotations.raw or not proxies or not redirects or tuple(pod.annotations.problems()):
        return None
    plan = replace(_plan(pod, context), owner=proxy_owner(proxies[0]))
    redirect = init_container(plan)
    args = redirects[0].get("args")
    if redirect is None or not isinstance(args, list) or args[:1] != ["iptables"] or args == redirect["args"]:
        return None  # with another command, it is not ours
    redirected = {**redirects[0], "args": redirect["args"]}
    init_containers = [redirected if container is redirects[0] else container for container in pod.init_containers]
    injected_pod = {**pod.data, "spec": {**pod.spec, _INIT_CONTAINERS: init_containers}}
    return Injected(injected_pod, json_patch(pod.data, injected_pod), tuple(_bypasses(pod, injected_pod)))


def _injected(pod: CandidatePod, context: InjectionContext) -> Json:
    plan = _plan(pod, context)
    check_status_port(plan.status_port)
    containers = {f"spec.{_CONTAINERS}[{index}]": container for index, container in enumerate(pod.containers)}
    containers |= {f"spec.{_INIT_CONTAINERS}[{index}]": container for index, container in enumerate(pod.init_containers)}
    proxy_paths = [path for path, container in containers.items() if container["name"] == PROXY_CONTAINER]  # one at most
    written_proxies = {path: containers.pop(path) for path in proxy_paths}
    plan = replace(plan, own_resources=next((section(container, "resources") for container in written_proxies.values()), {}))
    if plan.annotations.get(keys.REWRITE_PROBES) is not False:
        containers, probes = rewritten_containers(containers, plan.status_port)
        plan = replace(plan, probes=probes)
    sidecar = proxy_container(plan)
    for path, container in written_proxies.items():
        sidecar = merged_container(sidecar, {name: value for name, value in container.items() if name != "restartPolicy"}, path)
    plan = replace(plan, owner=proxy_owner(sidecar))
    init_containers, run_containers = _placed(plan, sidecar, containers)
    spec = {
        **pod.spec,
        _CONTAINERS: run_containers,
        **({_INIT_CONTAINERS: init_containers} if init_containers else {}),
        "volumes": [*items(pod.spec, "volumes"), *proxy_volumes(plan)],
    }
    return {**pod.data, "metadata": _metadata(plan, init_containers, run_containers), "spec": spec}


def _plan(pod: CandidatePod, context: InjectionContext) -> InjectionPlan:
    pod_config = pod.annotations.get(keys.PROXY_CONFIG) or NO_SETTINGS
    plan = InjectionPlan(
        pod=pod,
        settings=context.settings,
        config=context.configs.settings(pod.namespace, pod.labels, pod_config),
        is_native=_is_native(pod, context),
        metrics=scrape_settings(pod.annotations).application_metrics,
    )
    gateway = plan.is_gateway
    applying = (each.patch for each in context.patches if each.is_for(pod.namespace, pod.labels, gateway=gateway))
    plan = replace(plan, patches=tuple(applying))
    return replace(plan, is_native=False) if gateway else plan  # a gateway is what its pod is for


def _is_native(pod: CandidatePod, context: InjectionContext) -> bool:
    for wish in (pod.annotations.get(keys.NATIVE_SIDECAR), context.settings.native_sidecars):
        if wish is not None:
            return wish
    return context.has_native_sidecars


def _placed(plan: InjectionPlan, sidecar: Json, containers: Mapping[str, Json]) -> tuple[list[Json], list[Json]]:
    """Return the init containers and the containers of the pod: its own ``containers``, and ours where they have to be."""
    run_containers, init_containers = (
        [container for path, container in containers.items() if path.startswith(f"spec.{kind}[")]
        for kind in (_CONTAINERS, _INIT_CONTAINERS)
    )
    redirect = init_container(plan)
    redirects = [redirect] if redirect else []
    if plan.is_native:
        return [*redirects, sidecar, *init_containers], run_containers
    starts_first = plan.config.hold_application_until_proxy_starts
    return [*init_containers, *redirects], [sidecar, *run_containers] if starts_first else [*run_containers, sidecar]


def _metadata(plan: InjectionPlan, init_containers: list[Json], run_containers: list[Json]) -> Json:
    """Return the metadata of the pod, with Istio's labels, and what was added to it."""
    metadata, proxy_containers = section(plan.pod.data, "metadata"), {PROXY_CONTAINER, INIT_CONTAINER}
    labels = {
        **({} if plan.is_gateway else {"security.istio.io/tlsMode": "istio"}),  # what comes to a gateway says itself whether it is TLS
        "service.istio.io/canonical-name": plan.pod.canonical_name,
        "service.istio.io/canonical-revision": _canonical_revision(plan.pod),
        REVISION_LABEL: plan.settings.revision,
    }
    status = {
        "initContainers": [container["name"] for container in init_containers if container["name"] in proxy_containers],
        "containers": [container["name"] for container in run_containers if container["name"] in proxy_containers],
        "volumes": [volume["name"] for volume in proxy_volumes(plan)],
        "imagePullSecrets": None,
        "revision": plan.settings.revision,
    }
    application = next((container["name"] for container in plan.pod.application_containers), PROXY_CONTAINER)
    annotations = dict.fromkeys(_DEFAULT_CONTAINER, application) | dict(plan.pod.annotations.raw)
    annotations |= scrape_settings(plan.annotations).annotations
    annotations |= secret_annotations(plan.settings) | {keys.STATUS.name: orjson.dumps(status).decode()}
    return {**metadata, "annotations": annotations, "labels": {**labels, **plan.pod.labels}}


def _canonical_revision(pod: CandidatePod) -> str:
    named = (pod.labels.get(label) for label in ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"))
    return next(filter(None, named), "latest")


def _clashes(pod: CandidatePod) -> Iterator[str]:
    """Yield what the pod has under a name that injection needs."""
    if any(container["name"] == INIT_CONTAINER for container in (*pod.containers, *pod.init_containers)):
        yield f"spec.initContainers: {INIT_CONTAINER} is there already, and not from us"
    if sum(container["name"] == PROXY_CONTAINER for container in (*pod.containers, *pod.init_containers)) > 1:
        yield f"spec.containers: expected {PROXY_CONTAINER} at most once"
    taken = {text(volume, "name") for volume in items(pod.spec, "volumes")}
    proxy_volume_names = {
        "istio-token",
        "istiod-ca-cert",
        "istio-podinfo",
        *(text(volume, "name") for volume in pod.annotations.get(keys.USER_VOLUME) or ()),
    }
    for name in sorted(taken & proxy_volume_names):
        yield f"spec.volumes: {name} is there already, and not from us"


def _bypasses(pod: CandidatePod, injected_pod: Json) -> Iterator[str]:
    """Yield what lets traffic past the proxy of ``injected_pod``, though nothing says that it should."""
    spec = section(injected_pod, "spec")
    proxy = next(
        container for name in (_CONTAINERS, _INIT_CONTAINERS) for container in items(spec, name) if container["name"] == PROXY_CONTAINER
    )
    owner, of_pod = proxy_owner(proxy), section(pod.spec, "securityContext")
    for container in pod.application_containers:
        context = section(container, "securityContext")
        for field_name, what, number in (("runAsUser", "user", owner.user), ("runAsGroup", "group", owner.group)):
            if number and context.get(field_name, of_pod.get(field_name)) == number:
                yield f"container {container['name']} runs as {what} {number}: its traffic passes by the proxy"
