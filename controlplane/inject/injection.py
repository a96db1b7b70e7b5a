"""The whole of it: a pod, its namespace and the settings in; the pod with a proxy in it out, or why there is none. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import orjson

from controlplane.inject import annotations as say
from controlplane.inject.decision import REVISION, Namespace, why_not
from controlplane.inject.overlay import laid_over
from controlplane.inject.patch import patch
from controlplane.inject.pod import PROXY, BadPod, Pod, pod
from controlplane.inject.probes import probes_of
from controlplane.inject.scraping import scraping
from controlplane.inject.sidecar import INIT, USER, Plan, init, proxy, secret_annotations, volumes
from controlplane.kube.json import Json, items, section, text
from controlplane.objects.proxy_config import ProxySettings
from controlplane.settings import InjectionSettings

_NOTHING_SAID = ProxySettings()
_DEFAULT_CONTAINER = ("kubectl.kubernetes.io/default-logs-container", "kubectl.kubernetes.io/default-container")


@dataclass(frozen=True, slots=True)
class Untouched:
    """A pod that gets no proxy."""

    why: str


@dataclass(frozen=True, slots=True)
class Injected:
    """A pod with a proxy, what was done to it, and what it said in vain."""

    pod: Json
    patch: tuple[Json, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A pod that wants a proxy in a way that cannot be."""

    problems: tuple[str, ...]


Outcome: TypeAlias = Untouched | Injected | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """What injection goes by, besides the pod and its namespace."""

    settings: InjectionSettings
    defaults: ProxySettings = _NOTHING_SAID  # of the mesh
    has_native_sidecars: bool = True  # the cluster starts init containers that go on running


def inject(data: Json, namespace: Namespace, mesh: Mesh, part_of: str = "") -> Outcome:
    """Return what becomes of the pod ``data`` in ``namespace`` of ``mesh``, or of the template of the workload that it is ``part_of``."""
    try:
        found = pod(data, namespace.name, part_of)
        if why := _is_done(found) or why_not(found, namespace, mesh.settings):
            return Untouched(why)
        if problems := tuple(found.annotations.problems()) or tuple(_clashes(found)):
            return Refused(problems)
        made = _injected(found, mesh)
    except BadPod as error:
        return Refused(error.problems)
    warnings = (*found.annotations.in_vain(), *scraping(found.annotations).warnings, *_doubts(found))
    return Injected(made, patch(data, made), warnings)


def _is_done(pod: Pod) -> str | None:
    """Return that there is a proxy already, if there is: its annotation says so, and the container is there."""
    if say.STATUS.name in pod.annotations.said and any(each["name"] == PROXY for each in (*pod.containers, *pod.init_containers)):
        return "it has one already"
    return None


def _injected(pod: Pod, mesh: Mesh) -> Json:
    settings, said = mesh.settings, pod.annotations
    own = said.get(say.PROXY_CONFIG) or ProxySettings()
    native = said.get(say.NATIVE_SIDECAR)
    if native is None:
        native = mesh.has_native_sidecars if settings.native_sidecars is None else settings.native_sidecars
    metrics = scraping(said).application
    plan = Plan(pod=pod, settings=settings, config=own.over(mesh.defaults), native=native, metrics=metrics)
    if plan.router:
        plan, native = replace(plan, native=False), False  # it is what the pod is for
    paths = {f"spec.{key}[{at}]": each for key, group in _groups(pod).items() for at, each in enumerate(group)}
    if said.get(say.REWRITE_PROBES) is not False:
        asked = {path: each for path, each in paths.items() if each["name"] != PROXY}
        changed, probes = probes_of(asked, plan.status_port)
        paths, plan = {**paths, **changed}, replace(plan, probes=probes)
    custom = next(((path, each) for path, each in paths.items() if each["name"] == PROXY), None)
    sidecar = proxy(plan)
    if custom:
        sidecar = laid_over(sidecar, custom[1], custom[0])
    others = {
        key: [paths[f"spec.{key}[{at}]"] for at, each in enumerate(group) if each["name"] != PROXY] for key, group in _groups(pod).items()
    }
    first = init(plan)
    if native:
        starts = [*([first] if first else []), sidecar, *others["initContainers"]]
        runs = others["containers"]
    else:
        starts = [*others["initContainers"], *([first] if first else [])]
        held = plan.config.hold_application_until_proxy_starts
        runs = [sidecar, *others["containers"]] if held else [*others["containers"], sidecar]
    spec = {
        **pod.spec,
        "containers": runs,
        **({"initContainers": starts} if starts else {}),
        "volumes": [*items(pod.spec, "volumes"), *volumes(plan)],
    }
    return {**pod.data, "metadata": _metadata(plan, starts, runs), "spec": spec}


def _groups(pod: Pod) -> dict[str, tuple[Json, ...]]:
    return {"containers": pod.containers, "initContainers": pod.init_containers}


def _metadata(plan: Plan, starts: list[Json], runs: list[Json]) -> Json:
    """Return the metadata of the pod, with Istio's labels, and what was added to it."""
    found, ours = section(plan.pod.data, "metadata"), {PROXY, INIT}
    labels = {
        **({} if plan.router else {"security.istio.io/tlsMode": "istio"}),  # what comes to a gateway says itself whether it is TLS
        "service.istio.io/canonical-name": _canonical_name(plan.pod),
        "service.istio.io/canonical-revision": _canonical_revision(plan.pod),
        REVISION: plan.settings.revision,
    }
    status = {
        "initContainers": [each["name"] for each in starts if each["name"] in ours],
        "containers": [each["name"] for each in runs if each["name"] in ours],
        "volumes": [each["name"] for each in volumes(plan)],
        "imagePullSecrets": None,
        "revision": plan.settings.revision,
    }
    application = next((each["name"] for each in plan.pod.applications), PROXY)
    annotations = dict.fromkeys(_DEFAULT_CONTAINER, application) | dict(plan.pod.annotations.said)
    annotations |= scraping(plan.said).annotations
    annotations |= secret_annotations(plan.settings) | {say.STATUS.name: orjson.dumps(status).decode()}
    return {**found, "annotations": annotations, "labels": {**labels, **plan.pod.labels}}


def _canonical_name(pod: Pod) -> str:
    named = (pod.labels.get(each) for each in ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app"))
    return next(filter(None, named), pod.workload)[:63].rstrip("-_.")


def _canonical_revision(pod: Pod) -> str:
    named = (pod.labels.get(each) for each in ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"))
    return next(filter(None, named), "latest")


def _clashes(pod: Pod) -> Iterator[str]:
    """Yield what the pod has under a name that injection needs."""
    if any(each["name"] == INIT for each in (*pod.containers, *pod.init_containers)):
        yield f"spec.initContainers: {INIT} is there already, and not from us"
    if sum(each["name"] == PROXY for each in (*pod.containers, *pod.init_containers)) > 1:
        yield f"spec.containers: expected {PROXY} at most once"
    taken = {text(each, "name") for each in items(pod.spec, "volumes")}
    wanted = {
        "istio-token",
        "istiod-ca-cert",
        "istio-podinfo",
        *(text(each, "name") for each in pod.annotations.get(say.USER_VOLUME) or ()),
    }
    for each in sorted(taken & wanted):
        yield f"spec.volumes: {each} is there already, and not from us"


def _doubts(pod: Pod) -> Iterator[str]:
    """Yield what lets traffic past the proxy, though nothing says that it should."""
    whole = section(pod.spec, "securityContext").get("runAsUser")
    for each in pod.applications:
        if section(each, "securityContext").get("runAsUser", whole) == USER:
            yield f"container {each['name']} runs as user {USER}: its traffic passes by the proxy"
