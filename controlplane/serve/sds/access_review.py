"""Whether a service account may read the Secrets of its namespace: by the API server, asked before any credential is looked up.

A proxy that is of a namespace is not for that reason entitled to its Secrets (CVE-2021-34824). Istio asks the same question.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from controlplane.kube.client import Client
from controlplane.kube.errors import KubernetesError
from controlplane.kube.resources import ACCESS_REVIEWS, SECRETS
from controlplane.model.identity import Identity
from controlplane.untyped import Json, section

_CACHED_S = 30.0
_MAX_CACHED = 10_000


class SecretAccess(Protocol):
    """Decides who may read Secrets."""

    async def may_read(self, who: Identity) -> bool | None:
        """Return whether ``who`` may read the Secrets of its namespace, ``None`` where that cannot be decided now."""


class NamespaceAccess:
    """Without an API server: a workload may read the Secrets in files that are of its namespace."""

    async def may_read(self, who: Identity) -> bool | None:
        """Return ``True``."""
        del who
        return True


class AccessReviews:
    """By the API server's SubjectAccessReview.

    https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/subject-access-review-v1/
    """

    def __init__(self, client: Client, monotonic: Callable[[], float]) -> None:
        """Ask by ``client``."""
        self._client = client
        self._monotonic = monotonic
        self._cache: dict[tuple[str, str], tuple[float, bool]] = {}  # by namespace and account: until when, and whether

    async def may_read(self, who: Identity) -> bool | None:
        """Return whether ``who`` may list the Secrets of its namespace, ``None`` where the API server cannot be asked."""
        account, now = (who.namespace, who.service_account), self._monotonic()
        cached = self._cache.get(account)
        if cached and now < cached[0]:
            return cached[1]
        try:
            answer = await self._client.create(ACCESS_REVIEWS.path(), _review_request(*account))
        except KubernetesError:
            return None
        status = section(answer, "status")
        allowed = status.get("allowed") is True and status.get("denied") is not True
        if len(self._cache) > _MAX_CACHED:
            self._cache.clear()
        self._cache[account] = (now + _CACHED_S, allowed)
        return allowed


def _review_request(namespace: str, account: str) -> Json:
    attributes: Json = {"namespace": namespace, "verb": "list", "resource": SECRETS.plural, "version": SECRETS.version}
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    spec: Json = {"user": f"system:serviceaccount:{namespace}:{account}", "groups": groups, "resourceAttributes": attributes}
    return {"apiVersion": ACCESS_REVIEWS.api_version, "kind": ACCESS_REVIEWS.kind, "spec": spec}
