"""A pod that is about to be made, as the API server describes it in an AdmissionReview, and what is put into it. Pure.

The API server has looked at the namespace's labels itself, by the webhook's selectors: the path that it calls says what it found, so that
no mirror of namespaces has to be as new as the pod.
"""

from __future__ import annotations

from controlplane.inject.inject import Injected, InjectionContext, InjectionRefused, NotInjected, inject
from controlplane.inject.policy import INJECTION_LABEL, PodNamespace
from controlplane.model.revisions import REVISION_LABEL
from controlplane.untyped import section, text
from controlplane.webhooks.self_review import INJECTOR, self_review_warning
from controlplane.webhooks.validate import AdmissionRequest, AdmissionVerdict, admission_request, allowed, refused

INJECT_PATH = INJECTOR.webhook_path  # for a namespace that says nothing
INJECT_NAMESPACE_PATH = "/inject/namespace"


def mutate(body: bytes, path: str, context: InjectionContext) -> AdmissionVerdict:
    """Return the verdict on the pod that the AdmissionReview ``body``, sent to ``path``, is about; raises BadReview."""
    request = admission_request(body)
    if not _is_new_pod(request):
        return allowed(request.uid, self_review_warning(request.stored, path, dry_run=request.dry_run))
    outcome = inject(request.object, _namespace(request, path, context), context)
    match outcome:
        case Injected(_, patch, warnings):
            return allowed(request.uid, warnings, patch)
        case NotInjected():
            return allowed(request.uid)
        case InjectionRefused(problems):
            return refused(request.uid, problems)


def _is_new_pod(request: AdmissionRequest) -> bool:
    kind = section(request.data, "kind")
    return (text(kind, "group"), text(kind, "kind"), request.data.get("operation"), text(request.data, "subResource")) == (
        "",
        "Pod",
        "CREATE",
        "",
    )


def _namespace(request: AdmissionRequest, path: str, context: InjectionContext) -> PodNamespace:
    revision = context.settings.revision
    labels = {} if path == INJECT_PATH else {INJECTION_LABEL: "enabled"} if revision == "default" else {REVISION_LABEL: revision}
    return PodNamespace(text(request.data, "namespace"), labels)
