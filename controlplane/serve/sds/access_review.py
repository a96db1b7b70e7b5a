"""Whether an account may read the Secrets of its namespace: by the API server, asked before anything is looked up that was kept.

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

_BELIEVED_S = 30.0
_KEPT = 10_000


class SecretAccess(Protocol):
    """Knows who may read Secrets."""

    async def may_read(self, who: Identity) -> bool | None:
        """Return whether ``who`` may read the Secrets of its namespace, ``None`` where that cannot be known now."""


class NamespaceAccess:
    """Where no API server knows rights: whoever is of a namespace may read what files give there."""

    async def may_read(self, who: Identity) -> bool | None:
        """Return that ``who`` may."""
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
        self._known: dict[tuple[str, str], tuple[float, bool]] = {}  # by namespace and account: until when, and whether

    async def may_read(self, who: Identity) -> bool | None:
        """Return whether ``who`` may list the Secrets of its namespace, ``None`` where the API server cannot be asked."""
        account, now = (who.namespace, who.service_account), self._monotonic()
        known = self._known.get(account)
        if known and now < known[0]:
            return known[1]
        try:
            answer = await self._client.create(ACCESS_REVIEWS.path(), _question(*account))
        except KubernetesError:
            return None
        status = section(answer, "status")
        allowed = status.get("allowed") is True and status.get("denied") is not True
        if len(self._known) > _KEPT:
            self._known.clear()
        self._known[account] = (now + _BELIEVED_S, allowed)
        return allowed


def _question(namespace: str, account: str) -> Json:
    attributes: Json = {"namespace": namespace, "verb": "list", "resource": SECRETS.plural, "version": SECRETS.version}
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    spec: Json = {"user": f"system:serviceaccount:{namespace}:{account}", "groups": groups, "resourceAttributes": attributes}
    return {"apiVersion": ACCESS_REVIEWS.api_version, "kind": ACCESS_REVIEWS.kind, "spec": spec}
