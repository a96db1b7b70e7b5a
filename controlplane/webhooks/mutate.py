"""A pod that is about to be made, as the API server tells of it in an AdmissionReview, and what is put into it. Pure.

The API server has looked at the namespace's labels itself, by the webhook's selectors: the path that it calls says what it found, so that
no mirror of namespaces has to be as new as the pod.
"""

from __future__ import annotations

from controlplane.inject.inject import Injected, Mesh, Refused, Untouched, inject
from controlplane.inject.policy import ENABLED, REVISION, Namespace
from controlplane.kube.json import section, text
from controlplane.webhooks.validate import Request, Verdict, allowed, refused, request

POD_ASKS = "/inject"  # the namespace says nothing
NAMESPACE_ASKS = "/inject/namespace"


def admission(body: bytes, path: str, mesh: Mesh) -> Verdict:
    """Return the verdict on the pod that the AdmissionReview ``body``, sent to ``path``, is about; raises BadReview."""
    asked = request(body)
    if not _is_new_pod(asked):
        return allowed(asked.uid)
    outcome = inject(asked.object, _namespace(asked, path, mesh), mesh)
    match outcome:
        case Injected(_, patch, warnings):
            return allowed(asked.uid, warnings, patch)
        case Untouched():
            return allowed(asked.uid)
        case Refused(problems):
            return refused(asked.uid, problems)


def _is_new_pod(asked: Request) -> bool:
    kind = section(asked.data, "kind")
    return (text(kind, "group"), text(kind, "kind"), asked.data.get("operation"), text(asked.data, "subResource")) == (
        "",
        "Pod",
        "CREATE",
        "",
    )


def _namespace(asked: Request, path: str, mesh: Mesh) -> Namespace:
    revision = mesh.settings.revision
    labels = {} if path == POD_ASKS else {ENABLED: "enabled"} if revision == "default" else {REVISION: revision}
    return Namespace(text(asked.data, "namespace"), labels)
