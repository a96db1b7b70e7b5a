"""Whether a pod gets a proxy, as Istio's labels and annotations have it.

https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/#controlling-the-injection-policy
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.inject import annotation_values
from controlplane.inject.annotation_values import BadValue
from controlplane.inject.annotations import INJECT
from controlplane.inject.label_selector import label_selector
from controlplane.inject.pod import BadPod, CandidatePod
from controlplane.model.proxies import IGNORED_NAMESPACES
from controlplane.model.revisions import DEFAULT_REVISION, REVISION_LABEL
from controlplane.settings import InjectionSettings
from controlplane.untyped import section, text

INJECTION_LABEL = "istio-injection"  # the label of a namespace
_NOT_REQUESTED = "neither it nor its namespace asks for one"


@dataclass(frozen=True, slots=True)
class PodNamespace:
    """The namespace that a pod is made in."""

    name: str
    labels: Mapping[str, str]


def reason_not_to_inject(pod: CandidatePod, namespace: PodNamespace, settings: InjectionSettings) -> str | None:
    """Return why ``pod`` gets no proxy, None where it gets one; raises BadPod where it says something that is neither."""
    if pod.spec.get("hostNetwork") is True:
        return "it is in the network of its node"
    if namespace.name in IGNORED_NAMESPACES:
        return f"nothing is injected in {namespace.name}"
    if _is_windows(pod):
        return "it is for Windows"
    return _by_namespace(pod, namespace.labels, settings)


def _by_namespace(pod: CandidatePod, labels: Mapping[str, str], settings: InjectionSettings) -> str | None:
    wants_proxy = _own_choice(pod)
    own_revision = settings.revision
    injection, revision = labels.get(INJECTION_LABEL), labels.get(REVISION_LABEL)
    if wants_proxy is False:
        return "it says that it wants none"
    if injection == "disabled":
        return "its namespace says that it wants none"
    if injection is not None and not (injection == "enabled" and own_revision == DEFAULT_REVISION):
        return f"its namespace is labelled {INJECTION_LABEL}={injection[:63]}: that is not for revision {own_revision}"
    if injection is None and revision not in {None, own_revision}:
        return f"its namespace is for revision {revision}, this is {own_revision}"
    if injection is None and revision is None:
        return _by_pod(pod, settings, wants_proxy=wants_proxy)
    return None if wants_proxy else _by_default(pod, settings)


def _by_pod(pod: CandidatePod, settings: InjectionSettings, *, wants_proxy: bool | None) -> str | None:
    """Return the verdict where the namespace says nothing."""
    revision = pod.labels.get(REVISION_LABEL)
    if revision not in {None, settings.revision}:
        return f"it is for revision {revision}, this is {settings.revision}"
    if revision is not None or (pod.labels.get(INJECT.name) == "true" and settings.revision == DEFAULT_REVISION):
        return None
    if wants_proxy:
        return "it asks by its annotation alone: where its namespace says nothing, it takes the label, which the API server goes by"
    return _NOT_REQUESTED


def _by_default(pod: CandidatePod, settings: InjectionSettings) -> str | None:
    """Return the verdict on a pod that says nothing itself, in a namespace that wants proxies."""
    if any(label_selector(selector).matches(pod.labels) for selector in settings.never_inject):
        return "it is one of those that get none"
    if any(label_selector(selector).matches(pod.labels) for selector in settings.always_inject):
        return None
    return None if settings.auto_inject else _NOT_REQUESTED


def _own_choice(pod: CandidatePod) -> bool | None:
    """Return whether ``pod`` itself asks for a proxy, None where it says nothing; its label counts before its annotation."""
    label = pod.labels.get(INJECT.name)
    try:
        return annotation_values.strict_boolean(label) if label else pod.annotations.get(INJECT)
    except BadValue as error:
        choice = label or pod.annotations.raw[INJECT.name]
        raise BadPod(f"{INJECT.name}: {error}, found {choice[:80]!r}") from error


def _is_windows(pod: CandidatePod) -> bool:
    return "windows" in {text(section(pod.spec, "os"), "name"), text(section(pod.spec, "nodeSelector"), "kubernetes.io/os")}
