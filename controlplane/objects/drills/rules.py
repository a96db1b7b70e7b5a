"""What Drills must keep to, and which of them test what they cannot move."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from controlplane.objects.drills.drill import (
    LONGEST_RUN_MS,
    MOST_FAULTS,
    SHORTEST_INTERVAL_MS,
    SORTS,
    AbortFault,
    Drill,
    DrillSpec,
    Edge,
    InjectedFault,
    MatchedRequests,
    Objective,
)
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import host_error, is_header

GRPC_STATUSES = (
    *("CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED"),
    *("RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
)
# Of faults by which single requests fail: the others concern connections, or whole instances.
OF_REQUESTS = frozenset(("delay", "abort", "reset", "rate_limit", "blackhole", "saturation"))
AT_THE_CALLEE_ONLY = frozenset(("saturation",))
CANNOT_MOVE = "CannotMove"


def camel(field: str) -> str:
    """Return the ``field`` of a class as it is written in an object."""
    first, *others = field.split("_")
    return first + "".join(part.capitalize() for part in others)


def check(drill: Drill) -> Iterator[Finding]:
    """Yield what is wrong with ``drill``."""
    spec = drill.spec
    if not spec.steady_state:
        yield rules.required("spec.steadyState", "at least one objective")
    if not spec.inject:
        yield rules.required("spec.inject", "at least one fault")
    if spec.interval < SHORTEST_INTERVAL_MS:
        yield rules.out_of_range("spec.interval", f"at least {SHORTEST_INTERVAL_MS}ms", f"{spec.interval}ms")
    if (longest := _longest_ms(spec)) > LONGEST_RUN_MS:
        yield rules.out_of_range("spec", "before, faults, recovery and after of an hour at most", f"{longest // 1000}s")
    for field, objectives in (("steadyState", spec.steady_state), ("abortIf", spec.abort_if)):
        for index, objective in enumerate(objectives):
            yield from _objective(f"spec.{field}[{index}]", objective, spec.interval)
    for index, edge in enumerate(spec.observe):
        yield from _edge(f"spec.observe[{index}]", edge)
    for index, fault in enumerate(spec.inject):
        yield from _fault(f"spec.inject[{index}]", fault, drill)
    yield from _names("spec.inject", spec.inject)


def _longest_ms(spec: DrillSpec) -> int:
    durations = [fault.duration for fault in spec.inject[:MOST_FAULTS]]
    injected = sum(durations) if spec.order == "Sequence" else max(durations, default=0)
    return spec.before + injected + spec.recovery + spec.after


def _edge(path: str, edge: Edge) -> Iterator[Finding]:
    if error := host_error(edge.service, wildcard=False):
        yield Finding(f"{path}.service", rules.OUT_OF_RANGE, error)
    if edge.caller is not None and edge.caller.selector is not None:
        yield from rules.selector(f"{path}.caller.selector.matchLabels", edge.caller.selector.match_labels)


def _objective(path: str, objective: Objective, interval: int) -> Iterator[Finding]:
    yield from _edge(path, objective)
    if not any(getattr(objective, name) is not None for name in ("success_rate", "p50", "p95", "p99", "rate")):
        yield rules.required(path, "one of successRate, p50, p95, p99 and rate")
    if objective.window < interval:
        yield rules.out_of_range(f"{path}.window", f"at least the interval of {interval}ms", f"{objective.window}ms")


def _names(path: str, faults: Sequence[InjectedFault]) -> Iterator[Finding]:
    taken: set[str] = set()
    for index, fault in enumerate(faults):
        if fault.name and fault.name in taken:
            yield rules.conflict(f"{path}[{index}].name", f"expected a name of its own, found {fault.name} again")
        taken.add(fault.name)


def _fault(path: str, fault: InjectedFault, drill: Drill) -> Iterator[Finding]:
    yield from _edge(path, fault)
    sorts = fault.sorts
    if len(sorts) != 1:
        found = ", ".join(camel(sort) for sort in sorts) or "none"
        yield rules.required(path, f"one of {', '.join(camel(sort) for sort in SORTS)}, found {found}")
        return
    [sort] = sorts
    if fault.abort is not None:
        yield from _abort(f"{path}.abort", fault.abort)
    if fault.instances is not None:
        yield from rules.selector(f"{path}.instances.matchLabels", fault.instances.match_labels)
        if fault.side == "Caller" and sort in OF_REQUESTS:
            yield rules.conflict(f"{path}.instances", "expected side Callee: a fault at the caller comes before an instance is chosen")
    if fault.match is not None:
        yield from _match(f"{path}.match", fault.match)
    if sort not in OF_REQUESTS:
        for field in ("match", "percentage"):
            if field in fault.model_fields_set:
                yield rules.conflict(f"{path}.{field}", f"expected no {field} with {camel(sort)}, which is for all requests")
    if sort in AT_THE_CALLEE_ONLY and fault.side == "Caller":
        yield rules.conflict(f"{path}.side", f"expected Callee: {camel(sort)} is what a service does, not who calls it")
    yield from _radius(path, fault, drill)
    yield from _unmoved(path, fault, sort)


def _abort(path: str, abort: AbortFault) -> Iterator[Finding]:
    if (abort.http_status is None) == (not abort.grpc_status):
        yield rules.required(path, "one of httpStatus and grpcStatus")
    if abort.grpc_status and abort.grpc_status not in GRPC_STATUSES:
        yield rules.out_of_range(f"{path}.grpcStatus", f"one of {', '.join(GRPC_STATUSES)}", abort.grpc_status)


def _match(path: str, match: MatchedRequests) -> Iterator[Finding]:
    if not match.model_fields_set:
        yield rules.required(path, "a condition; without match the fault meets all requests")
    yield from _headers(f"{path}.headers", match.headers)
    if match.path_prefix and not match.path_prefix.startswith("/"):
        yield rules.out_of_range(f"{path}.pathPrefix", "the beginning of a path", match.path_prefix)


def _headers(path: str, headers: Mapping[str, str]) -> Iterator[Finding]:
    for name, value in headers.items():
        if not is_header(name) or name.startswith(":"):
            yield rules.out_of_range(path, "the name of a header", name)
        yield from rules.single_line(path, **{name: value})


def _radius(path: str, fault: InjectedFault, drill: Drill) -> Iterator[Finding]:
    radius, own = drill.spec.blast_radius, drill.meta.namespace
    if fault.sorts[0] in OF_REQUESTS and fault.percentage > radius.percentage:
        yield rules.out_of_range(f"{path}.percentage", f"at most the {radius.percentage:g} of spec.blastRadius", fault.percentage)
    allowed = set(radius.namespaces or (own,))
    if fault.caller is not None and (namespace := fault.caller.namespace or own) not in allowed:
        yield rules.out_of_range(f"{path}.caller.namespace", f"a namespace of spec.blastRadius ({', '.join(sorted(allowed))})", namespace)
    removed = fault.instance_removal
    if removed is not None and radius.pods is not None and removed.instances > radius.pods:
        yield rules.out_of_range(f"{path}.instanceRemoval.instances", f"at most the {radius.pods} of spec.blastRadius", removed.instances)


def _unmoved(path: str, fault: InjectedFault, sort: str) -> Iterator[Finding]:
    if fault.side == "Caller" and sort in OF_REQUESTS:
        message = (
            f"{camel(sort)} at the caller comes before the caller's retries, timeouts, circuit breakers and outlier detection,"
            " which never see it: side Callee tests these"
        )
        yield rules.warning(f"{path}.side", CANNOT_MOVE, message)
