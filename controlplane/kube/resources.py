"""Where things are in the API of Kubernetes."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.keys import WORKLOAD_ENTRY


@dataclass(frozen=True, slots=True, order=True)
class ApiResource:
    """One resource of the API, in one of its versions; ``group`` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """Return ``group/version`` as objects say it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, sub: str | None = None) -> str:
        """Return the path of the collection, in ``namespace`` or everywhere, or of the object ``name`` in it, or of its subresource."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, sub) if part]
        return "/" + "/".join(parts)


LEASES = ApiResource("coordination.k8s.io", "v1", "leases", "Lease")
CONFIG_MAPS = ApiResource("", "v1", "configmaps", "ConfigMap")
SECRETS = ApiResource("", "v1", "secrets", "Secret")
PODS = ApiResource("", "v1", "pods", "Pod")
EVENTS = ApiResource("events.k8s.io", "v1", "events", "Event")
WORKLOAD_ENTRIES = ApiResource(WORKLOAD_ENTRY.group, "v1", "workloadentries", WORKLOAD_ENTRY.kind)
CRDS = ApiResource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
_ADMISSION = "admissionregistration.k8s.io"
VALIDATING_WEBHOOKS = ApiResource(_ADMISSION, "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", namespaced=False)
MUTATING_WEBHOOKS = ApiResource(_ADMISSION, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", namespaced=False)
TOKEN_REVIEWS = ApiResource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False)
ACCESS_REVIEWS = ApiResource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False)
