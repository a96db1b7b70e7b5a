"""Whether an Envoy did what the simulation says: which listener and chain, which route, which cluster and endpoint, which status."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.simulation.result import (
    Answered,
    AwaitsBytes,
    AwaitsRequests,
    Closed,
    Forwarded,
    Landing,
    Outcome,
    Simulation,
    Stage,
    Undecided,
)

Entry = Mapping[str, str]
_NONE = ("", "-", None)


@dataclass(frozen=True, slots=True)
class Observed:
    """What an Envoy did with one connection, by its access log, and by what the server at the end told the client."""

    listener: str
    chain: str
    route: str = ""
    cluster: str = ""
    endpoint: str = ""
    status: int = 0
    flags: str = ""
    contacted: str = ""
    path: str = ""  # as routes have seen it


def observed(entries: list[dict[str, str]], answer: str, *, silent: bool) -> Observed | None:
    """Return what ``entries`` of the access log say, once they are complete; ``silent``: nothing was sent, so that there was no request."""
    by_kind = {entry["kind"]: entry for entry in entries}
    listener = by_kind.get("listener")
    if listener is None:
        return None
    awaited = _text(listener, "chain").rpartition(" ")[2]
    if awaited and awaited not in by_kind and not (silent and awaited == "http"):
        return None
    inner = by_kind.get(awaited, {})
    contacted = re.search("<([0-9.]+:[0-9]+)>", answer)
    return Observed(
        listener=_text(listener, "listener"),
        chain=_text(listener, "chain"),
        route=_text(inner, "route"),
        cluster=_text(inner, "cluster"),
        endpoint=_text(inner, "endpoint"),
        status=int(inner.get("status") or 0),
        flags=_text(inner, "flags"),
        contacted=contacted[1] if contacted else "",
        path=_text(inner, "path"),
    )


def _text(entry: Entry, name: str) -> str:
    value = entry.get(name)
    return "" if value in _NONE or value is None else str(value)


def agrees(simulation: Simulation, seen: Observed, path: str, addresses: Mapping[str, str]) -> bool:
    """Return whether ``seen``, of a request for ``path``, is an outcome of ``simulation``; ``addresses`` are those of host names."""
    return any(_is(outcome, seen, path, addresses) for outcome in simulation.outcomes)


def _is(outcome: Outcome, seen: Observed, path: str, addresses: Mapping[str, str]) -> bool:
    listener = outcome.chosen(Stage.LISTENER)
    chain = next((step.chosen for step in outcome.steps if step.stage is Stage.FILTER_CHAIN), "")
    route = next((step.chosen for step in outcome.steps if step.stage is Stage.ROUTE), "")
    if (listener, chain) != (seen.listener, seen.chain) or (route and route != seen.route):
        return False
    normalized = outcome.chosen(Stage.REQUEST) or path
    answered_before = not normalized.startswith("/")
    return _landed(outcome.landing, seen, addresses) and (not seen.path or answered_before or seen.path == normalized)


def _landed(landing: Landing, seen: Observed, addresses: Mapping[str, str]) -> bool:
    match landing:
        case Forwarded(cluster, endpoints):
            there = {_resolved(endpoint, addresses) for endpoint in endpoints}
            told = not seen.contacted or seen.contacted == seen.endpoint
            return seen.cluster == cluster and seen.endpoint in there and told
        case Answered(status, cluster):
            return seen.status == status and not seen.endpoint and (seen.cluster in {cluster, ""} or not cluster)
        case Closed(cluster):
            return not seen.endpoint and not seen.contacted and (seen.cluster == cluster or "NC" in seen.flags)
        case AwaitsBytes() | AwaitsRequests():
            return not seen.endpoint and not seen.status
        case Undecided():
            return False


def _resolved(endpoint: str, addresses: Mapping[str, str]) -> str:
    host, _, port = endpoint.rpartition(":")
    return f"{addresses.get(host, host)}:{port}"
