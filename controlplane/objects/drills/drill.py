"""Drill: a steady state, what is broken on purpose, and when that ends. A kind of our own; see docs/drills.md."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, Strict

from controlplane.model.keys import DRILL, GroupKind
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import Bool, Double, Duration, DurationOrZero, Host, Model, Port, Text, TextMap
from controlplane.objects.types.selectors import WorkloadSelector

MOST_OBJECTIVES = 16
MOST_FAULTS = 8
SHORTEST_INTERVAL_MS = 200
LONGEST_RUN_MS = 3_600_000
# The faults, as fields of InjectedFault are called.
SORTS = (
    *("delay", "abort", "reset", "rate_limit", "instance_removal", "zone_loss"),
    *("partition", "blackhole", "saturation", "distrust", "control_plane_outage"),
)
_Percent = Annotated[Double, Field(ge=0, le=100)]
_Label = Annotated[Text, Field(max_length=63)]
_Host = Annotated[Host, Field(min_length=1, max_length=255)]
_Status = Annotated[int, Strict(), Field(ge=200, le=599)]


class DrillPart(Model):
    """A part of a drill; a field that nobody knows is an error, as a limit that is mistyped would be none."""

    model_config = ConfigDict(extra="forbid")


class DrillCaller(DrillPart):
    """Who calls: the workloads with these labels in a namespace; without labels all of it."""

    namespace: Annotated[_Label, Field(description="Default: that of the drill.")] = ""
    selector: WorkloadSelector | None = None


class Edge(DrillPart):
    """The requests to a service: from one caller, or from everybody who has a proxy."""

    name: Annotated[_Label, Field(description="As the report calls it; else what it is about.")] = ""
    service: Annotated[_Host, Field(description="As a destination of a VirtualService: its short name, or the whole host.")]
    port: Port | None = None
    caller: DrillCaller | None = None


class Objective(Edge):
    """What is to be true of the requests of an edge; of what is given, all must hold."""

    success_rate: Annotated[_Percent | None, Field(description="At least, in percent: requests that are not answered 5xx.")] = None
    p50: Annotated[Duration | None, Field(description="At most: half of the requests take no longer.")] = None
    p95: Annotated[Duration | None, Field(description="At most.")] = None
    p99: Annotated[Duration | None, Field(description="At most.")] = None
    rate: Annotated[Double | None, Field(gt=0, description="At least, in requests per second.")] = None
    window: Annotated[Duration, Field(description="Over which it is judged while the drill runs.")] = 5_000


class DelayFault(DrillPart):
    """Requests wait before they go on."""

    fixed: Duration


class AbortFault(DrillPart):
    """Requests are answered at once."""

    http_status: _Status | None = None
    grpc_status: Annotated[Text, Field(max_length=32, description="The name of a gRPC status, as UNAVAILABLE.")] = ""


class ResetFault(DrillPart):
    """Connections are reset."""


class RateLimitFault(DrillPart):
    """So many requests a second pass, the others are answered 429."""

    requests_per_second: Annotated[int, Strict(), Field(ge=1, le=1_000_000)]


class RemovalFault(DrillPart):
    """Instances are taken out of the service, as when their pods are deleted."""

    instances: Annotated[int, Strict(), Field(ge=1, le=1000)] = 1
    delete_pods: Annotated[Bool, Field(description="Delete the pods themselves: needs the right to, and happens once.")] = False


class ZoneFault(DrillPart):
    """The endpoints of a zone are taken out."""

    zone: Annotated[Text, Field(min_length=1, max_length=255, description="REGION/ZONE, or a region.")]


class PartitionFault(DrillPart):
    """The callers cannot connect to the service."""


class BlackholeFault(DrillPart):
    """Requests to the service are never answered."""


class SaturationFault(DrillPart):
    """The service answers so many requests at a time, each late: what a busy processor looks like from outside."""

    concurrent: Annotated[int, Strict(), Field(ge=1, le=100_000)]
    delay: Duration


class DistrustFault(DrillPart):
    """The callers do not trust the authority of the service's certificates any more."""


class OutageFault(DrillPart):
    """The control plane is away; in the demo alone."""


class MatchedRequests(DrillPart):
    """Which requests a fault meets: all that is given must fit."""

    path_prefix: Annotated[Text, Field(max_length=1024)] = ""
    methods: Annotated[tuple[_Label, ...], Field(max_length=16)] = ()
    headers: Annotated[TextMap, Field(max_length=16)] = Field(default_factory=dict, description="Whole values, by name.")


class InjectedFault(Edge):
    """What is broken for a while: one of the faults, for the requests of an edge."""

    side: Annotated[
        Literal["Callee", "Caller"],
        Field(
            description="Which proxy does it. At the callee, the caller's retries, timeouts and ejections see it as they would a real one;"
            " at the caller it comes before all of these."
        ),
    ] = "Callee"
    instances: Annotated[
        WorkloadSelector | None, Field(description="Of the service, those that the fault is at, or that are taken out. Default: all.")
    ] = None
    match: MatchedRequests | None = None
    percentage: Annotated[_Percent, Field(description="Of the requests that match.")] = 100.0
    duration: Duration
    delay: DelayFault | None = None
    abort: AbortFault | None = None
    reset: ResetFault | None = None
    rate_limit: RateLimitFault | None = None
    instance_removal: RemovalFault | None = None
    zone_loss: ZoneFault | None = None
    partition: PartitionFault | None = None
    blackhole: BlackholeFault | None = None
    saturation: SaturationFault | None = None
    distrust: DistrustFault | None = None
    control_plane_outage: OutageFault | None = None

    @property
    def sorts(self) -> tuple[str, ...]:
        """Return which of the faults are given, as fields are called."""
        return tuple(name for name in SORTS if getattr(self, name) is not None)


class BlastRadius(DrillPart):
    """What the drill may reach at most; one that would reach more is not run."""

    percentage: Annotated[_Percent, Field(description="Of requests that a fault meets.")] = 100.0
    namespaces: Annotated[tuple[_Label, ...], Field(max_length=64, description="Of services and callers. Default: that of the drill.")] = ()
    pods: Annotated[int | None, Strict(), Field(ge=1, description="Whose proxies get a fault, or that are taken out.")] = None


class DrillSpec(Model):
    """A steady state, what is broken on purpose, and when that ends.

    A drill that is only there does nothing: it runs when it is asked for, by `navarch drill run` or the annotation navarch.dev/run.
    """

    steady_state: Annotated[tuple[Objective, ...], Field(max_length=MOST_OBJECTIVES)]
    inject: Annotated[tuple[InjectedFault, ...], Field(max_length=MOST_FAULTS)]
    order: Annotated[Literal["Parallel", "Sequence"], Field(description="Whether the faults come together, or one after the other.")] = (
        "Parallel"
    )
    abort_if: Annotated[tuple[Objective, ...], Field(max_length=MOST_OBJECTIVES, description="The faults end once one does not hold.")] = ()
    observe: Annotated[tuple[Edge, ...], Field(max_length=MOST_OBJECTIVES, description="Measured and reported, and not judged.")] = ()
    blast_radius: BlastRadius = BlastRadius()
    before: Annotated[Duration, Field(description="For which the steady state is measured before anything is broken.")] = 10_000
    after: Annotated[DurationOrZero, Field(description="For which it is measured once it has recovered.")] = 5_000
    recovery: Annotated[Duration, Field(description="Within which it has to be steady again.")] = 60_000
    interval: Annotated[Duration, Field(description="Between two looks at the proxies.")] = 500


class Drill(KubernetesObject):
    """A steady state, what is broken on purpose, and when that ends."""

    group_kind: ClassVar[GroupKind] = DRILL

    spec: DrillSpec
