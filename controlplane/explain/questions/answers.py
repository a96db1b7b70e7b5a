"""Answers to what is asked by texts, from a command line or over HTTP: the same for manifests and for a running control plane."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from controlplane.envoy.type_urls import CDS, EDS, LDS, RDS, VHDS
from controlplane.explain.explain import Sight, explained, judged
from controlplane.explain.explanation import Explanation
from controlplane.explain.questions.question import BadQuestion, Question, connection_question, request_question
from controlplane.explain.work import Work
from controlplane.mesh.sessions import Session

_KINDS: Mapping[str, str] = {"listener": LDS, "route": RDS, "virtualhost": VHDS, "cluster": CDS, "endpoint": EDS}
_TCP = "tcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionTexts:
    """A question as texts; ``headers`` are lines of NAME: VALUE, ``claims`` a JSON object, an empty ``method`` asks about a connection."""

    method: str = ""
    target: str = ""
    headers: str = ""
    source_ip: str = ""
    server_name: str = ""
    principal: str = ""
    claims: str = ""

    def question(self) -> Question:
        """Return the question; raises BadQuestion."""
        of_client = {"source_ip": self.source_ip, "server_name": self.server_name, "principal": self.principal}
        if self.method in {"", _TCP}:
            return connection_question(self.target, **of_client)
        headers = tuple(line for line in self.headers.split("\n") if line)
        return replace(request_question(self.method, self.target, headers, **of_client), claims=_claims(self.claims))


def _claims(text: str) -> Mapping[str, object] | None:
    if not text:
        return None
    try:
        claims = json.loads(text)
    except ValueError as error:
        raise BadQuestion(f"expected the claims of a token as a JSON object: {error}") from None
    if not isinstance(claims, dict):
        raise BadQuestion("expected the claims of a token as a JSON object")
    return claims


def explanation_of(sight: Sight, session: Session, texts: QuestionTexts) -> Work[Explanation]:
    """Return what becomes of what ``texts`` ask at the proxy of ``session``; raises BadQuestion."""
    return (yield from explained(sight, session, texts.question()))


def judgement_of(sight: Sight, session: Session, texts: QuestionTexts, port: int | None) -> Work[Explanation]:
    """Return whether the proxy of ``session`` lets in what ``texts`` ask: at ``port``, or the first that its workload serves."""
    question = texts.question()
    return (yield from judged(sight, session, replace(question, port=port) if port else question))


def resource_origins(sight: Sight, session: Session, kind: str, name: str) -> Mapping[str, object]:
    """Return what the resource ``name`` of ``kind``, which the proxy of ``session`` has, was made from; raises BadQuestion."""
    type_url = _KINDS.get(kind.lower().removesuffix("s"))
    if type_url is None:
        raise BadQuestion(f"expected one of {', '.join(_KINDS)}, found {kind[:40]!r}")
    view = session.view
    resource = view.get(type_url, name)
    hosts = name.rpartition("/")[0] if type_url in {RDS, VHDS} else ""
    if resource is None and not (hosts and view.get(RDS, hosts)):
        there = sorted({each for names in view.names(type_url) for each in names})
        raise BadQuestion(f"the proxy has no {kind} {name[:200]!r}; it has {', '.join(there[:10])}{' …' if len(there) > 10 else ''}")
    made = sight.mesh.attribution.made_of(session.view.tables, type_url, name)
    return {
        "proxy": session.proxy.id,
        "type": kind,
        "name": name,
        "version": resource.version if resource else None,
        "origins": [sight.origins.of(each.key, each.field).row() for each in made],
    }
