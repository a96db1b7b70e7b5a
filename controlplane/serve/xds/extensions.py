"""Which connected proxies lack extensions that they would be sent, as Problems: they have no object, and begin with the proxies' names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from controlplane.incremental.database import Database
from controlplane.mesh.publish.parts import PartGroup
from controlplane.mesh.publish.reduced_parts import reductions
from controlplane.model.problems import Problem, Severity
from controlplane.serve.xds.subscribers import Subscribers
from controlplane.translate.without_extensions import Consequence, LeftOut

_MOST_NAMES = 10  # of proxies, and of resources, in one Problem


def missing_extensions(db: Database, subscribers: Subscribers) -> Iterator[Sequence[Problem]]:
    """Yield, in pieces, a Problem for each extension that proxies of ``subscribers`` lack and each thing that becomes of it for them."""
    proxies: dict[PartGroup, set[str]] = defaultdict(set)
    for session in subscribers.sessions():
        for root in session.roots if session.proxy.lacking else ():
            proxies[root].add(session.proxy.id)
        yield ()
    concerned: dict[LeftOut, set[str]] = defaultdict(set)
    resources: dict[LeftOut, set[str]] = defaultdict(set)
    for root, names in proxies.items():
        for found in reductions(db, root):
            type_url, name = found.reference
            for left_out in found.left_out:
                concerned[left_out] |= names
                resources[left_out].add(f"{type_url.rpartition('.')[2]} {name}")
            yield ()
    yield [_problem(left_out, concerned[left_out], resources[left_out]) for left_out in sorted(concerned)]


def _problem(left_out: LeftOut, proxies: set[str], resources: set[str]) -> Problem:
    severity = Severity.WARNING if left_out.consequence is Consequence.LEFT_OUT else Severity.ERROR
    message = f"{_named(proxies)}: this Envoy has no {left_out.extension}: it {left_out.consequence} {_named(resources)}"
    return Problem(None, "", severity, "MissingExtension", message)


def _named(names: set[str]) -> str:
    named = sorted(names)[:_MOST_NAMES]
    return f"{', '.join(named)}{f' and {len(names) - len(named)} more' if len(names) > len(named) else ''}"
