"""Where a simulated way ends, in words, and whether that means that it arrives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from controlplane.explain.explanation import TrafficVerdict
from controlplane.simulation.result import Answered, AwaitsBytes, AwaitsRequests, Closed, Forwarded, Outcome, Stage

INBOUND_LISTENER = "virtualInbound"
_NOT_FOUND, _UNAVAILABLE = 404, 503


class Ending(NamedTuple):
    """Where a way ends, whether it arrives, why, and the status that the client gets of a proxy."""

    ends: str
    verdict: TrafficVerdict
    why: str
    status: int | None = None


def ending(outcome: Outcome) -> Ending:
    """Return how ``outcome`` ends."""
    last = outcome.steps[-1] if outcome.steps else None
    why = last.reason if last else ""
    judged = last is not None and last.stage is Stage.POLICIES
    match outcome.landing:
        case Forwarded(cluster, endpoints):
            if outcome.asks:
                return Ending(
                    _to(cluster, endpoints), TrafficVerdict.UNKNOWN, f"it is up to {', '.join(outcome.asks)}, which is not simulated"
                )
            return Ending(_to(cluster, endpoints), TrafficVerdict.ALLOWED, _allowed_by(outcome))
        case Answered(status):
            words = f"the proxy answers {status}"
            if judged and last:
                return Ending(words, TrafficVerdict.DENIED, f"{last.resource} {last.chosen}: {why}".replace(" :", ":"), status)
            lost = status in {_NOT_FOUND, _UNAVAILABLE} and (last is None or "answers itself" not in why)
            return Ending(words, TrafficVerdict.LOST if lost else TrafficVerdict.ANSWERED, why, status)
        case Closed():
            plaintext = last is not None and last.stage is Stage.FILTER_CHAIN and outcome.chosen(Stage.LISTENER) == INBOUND_LISTENER
            denied = judged or plaintext or (last is not None and last.chosen == "mutual TLS")
            said = f"no chain takes it, as in plaintext where mutual TLS is asked for: {why}" if plaintext else why
            return Ending("the proxy closes the connection", TrafficVerdict.DENIED if denied else TrafficVerdict.LOST, said)
        case AwaitsRequests(table):
            return Ending(
                f"each of its requests is routed by {table}",
                TrafficVerdict.ALLOWED,
                "the connection is taken, its requests are judged one by one",
            )
        case AwaitsBytes():
            return Ending("nothing happens until the client sends something", TrafficVerdict.UNKNOWN, why)
        case _:
            return Ending("what decides is not simulated", TrafficVerdict.UNKNOWN, why)


def together(verdicts: Iterable[TrafficVerdict]) -> TrafficVerdict:
    """Return what all ``verdicts`` have in common; unknown where they differ."""
    distinct = set(verdicts)
    return distinct.pop() if len(distinct) == 1 else TrafficVerdict.UNKNOWN


def _to(cluster: str, endpoints: frozenset[str]) -> str:
    return f"{cluster} at {', '.join(sorted(endpoints))}"


def _allowed_by(outcome: Outcome) -> str:
    allowing = [step for step in outcome.steps if step.stage is Stage.POLICIES and step.resource == "ALLOW"]
    if allowing:
        return f"ALLOW {allowing[-1].chosen}: {allowing[-1].reason}"
    return "no policy forbids it" if any(step.stage is Stage.POLICIES for step in outcome.steps) else ""
