"""What an installation may choose, by the same names for ``navarch manifests`` and for the Helm chart, and where each value lands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel


class InstallProfile(StrEnum):
    """What is installed."""

    HA = "ha"
    DEV = "dev"


class InstallValues(BaseModel):
    """What an installation may choose."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, title="Navarch")

    profile: InstallProfile = Field(
        default=InstallProfile.HA, description="ha: three replicas and more; dev: one that says all it does, to try it"
    )
    image: str = Field(default="navarch:0.1.0", min_length=1, description="the image, where the cluster's nodes find it")
    image_pull_secrets: tuple[Mapping[str, str], ...] = Field(default=(), description="by which they may pull it, as [{name: registry}]")
    extra_args: tuple[str, ...] = Field(default=(), description="further options of navarch serve")
    resources: Mapping[str, JsonValue] = Field(
        default={"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
        description="what each replica asks for, and may use",
    )
    min_replicas: int = Field(default=3, ge=1, le=100, description="how many replicas there are at least (ha)")
    max_replicas: int = Field(default=10, ge=1, le=100, description="how many replicas there are at most (ha)")
    node_selector: Mapping[str, str] = Field(default={}, description="labels of the nodes that they may run on")
    tolerations: tuple[Mapping[str, JsonValue], ...] = Field(default=(), description="taints of nodes that they may run on all the same")


class Landing(StrEnum):
    """How a value lands in an object."""

    SET = "set"
    SET_IF_ANY = "set if any"  # nothing is written of what is empty
    APPEND = "append"  # to the list that is there


@dataclass(frozen=True, slots=True)
class ValuePlace:
    """Where a value lands: in which objects, by kind, and where in each."""

    name: str
    kind: str
    path: tuple[str | int, ...]
    landing: Landing = Landing.SET


_POD = ("spec", "template", "spec")
_CONTAINER = (*_POD, "containers", 0)
PLACES = (
    ValuePlace("image", "Deployment", (*_CONTAINER, "image")),
    ValuePlace("imagePullSecrets", "Deployment", (*_POD, "imagePullSecrets"), Landing.SET_IF_ANY),
    ValuePlace("extraArgs", "Deployment", (*_CONTAINER, "args"), Landing.APPEND),
    ValuePlace("resources", "Deployment", (*_CONTAINER, "resources")),
    ValuePlace("nodeSelector", "Deployment", (*_POD, "nodeSelector"), Landing.SET_IF_ANY),
    ValuePlace("tolerations", "Deployment", (*_POD, "tolerations"), Landing.SET_IF_ANY),
    ValuePlace("minReplicas", "HorizontalPodAutoscaler", ("spec", "minReplicas")),
    ValuePlace("maxReplicas", "HorizontalPodAutoscaler", ("spec", "maxReplicas")),
)
