"""From what a Drill says of a fault to the fault that is put into the mesh."""

from __future__ import annotations

from controlplane.model.faults.faults import (
    ALL,
    ALL_WORKLOADS,
    EVERY_REQUEST,
    DrillFault,
    FaultId,
    FaultSide,
    HeaderText,
    HitRequests,
    WorkloadSelection,
)
from controlplane.model.faults.kinds import (
    AnswerGrpc,
    AnswerHttp,
    CloseConnections,
    DelayRequests,
    DistrustCallers,
    FaultKind,
    LimitRequests,
    LoseZone,
    PartCallers,
    RemoveInstances,
    SaturateInstances,
    SwallowRequests,
)
from controlplane.objects.drills.drill import Drill, InjectedFault
from controlplane.objects.drills.rules import GRPC_STATUSES, OF_REQUESTS
from controlplane.objects.types.selectors import WorkloadSelector


def injected_fault(drill: Drill, name: str, host: str, injected: InjectedFault, seed: int) -> DrillFault:
    """Return what ``injected``, called ``name``, is in the mesh, for the service ``host``.

    ``seed`` decides which instances it takes out.
    """
    namespace, caller = drill.meta.namespace, injected.caller
    return DrillFault(
        id=FaultId(namespace, drill.meta.name, name),
        kind=_kind(injected, seed),
        host=host,
        port=injected.port or 0,
        side=FaultSide(injected.side.lower()),
        caller=_selection((caller.namespace or namespace,), caller.selector) if caller else ALL_WORKLOADS,
        callee=_selection((), injected.instances),
        match=_match(injected),
        per_million=round(injected.percentage * ALL / 100) if injected.sorts[0] in OF_REQUESTS else ALL,
    )


def _selection(namespaces: tuple[str, ...], selector: WorkloadSelector | None) -> WorkloadSelection:
    labels = tuple(sorted(selector.match_labels.items())) if selector else ()
    return WorkloadSelection(namespaces=namespaces, labels=labels) if namespaces or labels else ALL_WORKLOADS


def _match(injected: InjectedFault) -> HitRequests:
    match = injected.match
    if match is None:
        return EVERY_REQUEST
    headers = tuple(HeaderText(name.lower(), value) for name, value in sorted(match.headers.items()))
    return HitRequests(headers=headers, path_prefixes=(match.path_prefix,) if match.path_prefix else (), methods=match.methods)


def _kind(injected: InjectedFault, seed: int) -> FaultKind:  # noqa: PLR0911 - one line a sort
    if injected.delay is not None:
        return DelayRequests(injected.delay.fixed)
    if injected.abort is not None:
        grpc = injected.abort.grpc_status
        return AnswerGrpc(GRPC_STATUSES.index(grpc) + 1) if grpc else AnswerHttp(injected.abort.http_status or 503)
    if injected.reset is not None:
        return CloseConnections()
    if injected.rate_limit is not None:
        return LimitRequests(injected.rate_limit.requests_per_second)
    if injected.instance_removal is not None:
        return RemoveInstances(count=injected.instance_removal.instances, seed=seed)
    if injected.zone_loss is not None:
        return LoseZone(injected.zone_loss.zone)
    if injected.partition is not None:
        return PartCallers()
    if injected.blackhole is not None:
        return SwallowRequests()
    if injected.saturation is not None:
        return SaturateInstances(injected.saturation.concurrent, injected.saturation.delay)
    return DistrustCallers()
