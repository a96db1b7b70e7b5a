"""By what names telemetry knows a workload: those of Istio's labels ``source_*`` and ``destination_*``.

https://istio.io/latest/docs/reference/config/metrics/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

UNKNOWN = "unknown"
CLUSTER = "Kubernetes"  # as Istio calls a cluster that nobody has named
NO_REVISION = "latest"
WORKLOAD_LABEL = "service.istio.io/workload-name"  # of a WorkloadEntry
REGISTERED_BY = "istio.io/autoRegistrationGroup"  # annotation of a WorkloadEntry: the WorkloadGroup by which it has registered itself
_CANONICAL_SERVICE = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
_CANONICAL_REVISION = ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}", re.ASCII)
_OF_CRONJOB = re.compile(r"-\d{8,10}\Z")  # what a CronJob adds to its name: when its Job was due, in minutes or seconds


@dataclass(frozen=True, slots=True)
class WorkloadNames:
    """The names of a workload; each is of letters, digits, ``.``, ``-`` and ``_``, and ``unknown`` where nobody says it."""

    workload: str = UNKNOWN
    namespace: str = UNKNOWN
    app: str = UNKNOWN
    version: str = UNKNOWN
    canonical_service: str = UNKNOWN
    canonical_revision: str = UNKNOWN
    cluster: str = UNKNOWN

    @property
    def by_suffix(self) -> Mapping[str, str]:
        """Return them by what follows ``source_`` or ``destination_`` in the names of Istio's labels."""
        return {
            "workload": self.workload,
            "workload_namespace": self.namespace,
            "app": self.app,
            "version": self.version,
            "canonical_service": self.canonical_service,
            "canonical_revision": self.canonical_revision,
            "cluster": self.cluster,
        }

    @property
    def subject(self) -> str:
        """Return them in one text, in the order of ``SUFFIXES``, for the subject of a certificate."""
        return "/".join((SUBJECT, *self.by_suffix.values()))


NOBODY = WorkloadNames()
SUFFIXES = tuple(NOBODY.by_suffix)
SUBJECT = "navarch"  # what such a text begins with; no name has the ``/`` after it


def workload_names(workload: str, namespace: str, labels: Mapping[str, str]) -> WorkloadNames:
    """Return the names of ``workload`` of ``namespace``, whose instances have ``labels``."""
    return WorkloadNames(
        workload=known(workload),
        namespace=known(namespace),
        app=known(labels.get("app", "")),
        version=known(labels.get("version", "")),
        canonical_service=known(_first(labels, _CANONICAL_SERVICE) or workload),
        canonical_revision=known(_first(labels, _CANONICAL_REVISION) or NO_REVISION),
        cluster=CLUSTER,
    )


def workload_of_pod(owner: tuple[str, str], pod: str, labels: Mapping[str, str]) -> str:
    """Return what ``pod`` with ``labels`` is a part of: its ``owner`` (kind and name), or the owner of that, or else itself.

    A Deployment owns by way of its ReplicaSet, a DeploymentConfig by way of its ReplicationController, a CronJob by way of its Job.
    """
    kind, name = owner
    digest = labels.get("pod-template-hash", "")
    if kind == "ReplicaSet" and digest:
        return name.removesuffix(f"-{digest}")
    if kind == "ReplicationController" and (config := labels.get("deploymentconfig")):
        return config
    if kind == "Job":
        return _OF_CRONJOB.sub("", name)
    return name or pod


def known(text: str) -> str:
    """Return the name ``text``, or that it is unknown where it is none."""
    return text if _NAME.fullmatch(text) else UNKNOWN


def _first(labels: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := labels.get(name))), "")
