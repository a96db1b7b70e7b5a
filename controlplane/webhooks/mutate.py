"""A pod that is about to be made, as the API server tells of it in an AdmissionReview, and what is put into it. Pure.

The API server has looked at the namespace's labels itself, by the webhook's selectors: the path that it calls says what it found, so that
no mirror of namespaces has to be as new as the pod.
"""

from __future__ import annotations

from controlplane.inject.inject import Injected, InjectionContext, InjectionRefused, NotInjected, inject
from controlplane.inject.policy import INJECTION_LABEL, REVISION_LABEL, PodNamespace
from controlplane.kube.json import section, text
from controlplane.webhooks.validate import AdmissionRequest, AdmissionVerdict, admission_request, allowed, refused

INJECT_PATH = "/inject"  # the namespace says nothing
INJECT_NAMESPACE_PATH = "/inject/namespace"


def injection_verdict(body: bytes, path: str, mesh: InjectionContext) -> AdmissionVerdict:
    """Return the verdict on the pod that the AdmissionReview ``body``, sent to ``path``, is about; raises BadReview."""
    asked = admission_request(body)
    if not _is_new_pod(asked):
        return allowed(asked.uid)
    outcome = inject(asked.object, _namespace(asked, path, mesh), mesh)
    match outcome:
        case Injected(_, patch, warnings):
            return allowed(asked.uid, warnings, patch)
        case NotInjected():
            return allowed(asked.uid)
        case InjectionRefused(problems):
            return refused(asked.uid, problems)


def _is_new_pod(asked: AdmissionRequest) -> bool:
    kind = section(asked.data, "kind")
    return (text(kind, "group"), text(kind, "kind"), asked.data.get("operation"), text(asked.data, "subResource")) == (
        "",
        "Pod",
        "CREATE",
        "",
    )


def _namespace(asked: AdmissionRequest, path: str, mesh: InjectionContext) -> PodNamespace:
    revision = mesh.settings.revision
    labels = {} if path == INJECT_PATH else {INJECTION_LABEL: "enabled"} if revision == "default" else {REVISION_LABEL: revision}
    return PodNamespace(text(asked.data, "namespace"), labels)
