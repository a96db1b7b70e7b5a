"""A plan as a value: which proxies would get what, and what that means for those who are connected and for requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.model.keys import Key
from controlplane.model.problems import Problem


@dataclass(frozen=True, slots=True)
class PlannedResource:
    """A resource that would be ``added``, ``changed`` or ``removed``, with its content before and after where that is asked for."""

    type: str
    name: str
    change: str
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None

    def row(self) -> Mapping[str, object]:
        """Return it as JSON."""
        contents = {"before": self.before, "after": self.after}
        return {"type": self.type, "name": self.name, "change": self.change, **{name: each for name, each in contents.items() if each}}


@dataclass(frozen=True, slots=True)
class Drain:
    """A listener whose connections would be drained: those of ``chains`` alone, or without any named all."""

    listener: str
    chains: tuple[str, ...] = ()

    def row(self) -> Mapping[str, object]:
        """Return it as JSON."""
        return {"listener": self.listener, "chains": list(self.chains)}


@dataclass(frozen=True, slots=True)
class Rerouted:
    """A request, or a connection, that would go elsewhere."""

    asked: str
    before: tuple[str, ...]
    after: tuple[str, ...]

    def row(self) -> Mapping[str, object]:
        """Return it as JSON."""
        return {"asked": self.asked, "before": list(self.before), "after": list(self.after)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyPlan:
    """What would differ for ``proxies``, for all of them the same."""

    proxies: tuple[str, ...]
    resources: tuple[PlannedResource, ...]
    drains: tuple[Drain, ...] = ()
    rerouted: tuple[Rerouted, ...] = ()
    tried: int = 0  # requests and connections that were compared

    def row(self) -> Mapping[str, object]:
        """Return it as JSON."""
        return {
            "proxies": list(self.proxies),
            "resources": [each.row() for each in self.resources],
            "drains": [each.row() for each in self.drains],
            "rerouted": [each.row() for each in self.rerouted],
            "tried": self.tried,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePlan:
    """All that would differ, once ``objects`` are what they are to be."""

    objects: tuple[Key, ...]
    proxies: tuple[ProxyPlan, ...]
    new_problems: tuple[Problem, ...]
    gone_problems: tuple[Problem, ...]

    @property
    def changes(self) -> bool:
        """Return whether anything would differ."""
        return bool(self.proxies or self.new_problems or self.gone_problems)

    def row(self) -> Mapping[str, object]:
        """Return it as JSON."""
        return {
            "changes": self.changes,
            "objects": [str(key) for key in self.objects],
            "proxies": [each.row() for each in self.proxies],
            "newProblems": [_problem(each) for each in self.new_problems],
            "goneProblems": [_problem(each) for each in self.gone_problems],
        }


def _problem(problem: Problem) -> Mapping[str, object]:
    return {
        "object": str(problem.object) if problem.object else None,
        "field": problem.field,
        "severity": problem.severity.value,
        "code": problem.code,
        "message": problem.message,
    }
