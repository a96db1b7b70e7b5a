"""What a ServiceAccount may do by rendered manifests, against what it did by the API server's audit log.

An audit policy of level Metadata is enough; stage ResponseComplete or ResponseStarted (of watches) is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.rendered_manifests import Json, at, objects, words

ALWAYS_ALLOWED = ("/version", "/healthz", "/livez", "/readyz", "/api", "/apis", "/openapi")  # to all who are authenticated


@dataclass(frozen=True, slots=True, order=True)
class Use:
    """One thing that was done: a verb on a resource (``pods``, ``virtualservices/status``), somewhere, to something."""

    verb: str
    group: str
    resource: str
    namespace: str = ""  # "": in the whole cluster, or the resource has no namespaces
    name: str = ""  # "": no name was given, as in a list

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{f'.{self.group}' if self.group else ''}{f' {self.name}' if self.name else ''}{where}"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One thing that is granted; the smallest one: a verb on a resource, in a namespace or everywhere, for a name or all."""

    verb: str
    group: str
    resource: str
    namespace: str = ""  # "": everywhere
    name: str = ""  # "": whatever it is called

    def covers(self, use: Use) -> bool:
        """Tell whether ``use`` is allowed by this right."""
        return (
            (self.verb, self.group, self.resource) == (use.verb, use.group, use.resource)
            and self.namespace in {"", use.namespace}
            and self.name in {"", use.name}
        )

    def __str__(self) -> str:
        return str(Use(self.verb, self.group, self.resource, self.namespace, self.name))


@dataclass(frozen=True, slots=True)
class Verdict:
    """How rights and uses compare; all three are empty where the rights are the least that suffice."""

    refused: tuple[Use, ...]  # the API server said no
    not_granted: tuple[Use, ...]  # done though these manifests do not grant it: the run had more rights than they give
    not_used: tuple[Right, ...]  # granted and never used

    def __str__(self) -> str:
        return "\n".join(
            f"{word}: {each}"
            for word, found in (("refused", self.refused), ("not granted", self.not_granted), ("not used", self.not_used))
            for each in found
        )


def rights(manifests: Iterable[Json], *, account: str, namespace: str) -> frozenset[Right]:
    """Return what the ``manifests`` grant to the ServiceAccount ``account`` of ``namespace``, in its smallest parts."""
    documents = list(manifests)
    rules = {
        (each["kind"], _namespace(each), at(each, "metadata", "name")): objects(each["rules"]) for each in documents if "rules" in each
    }
    found: set[Right] = set()
    for binding in documents:
        if binding["kind"] not in {"RoleBinding", "ClusterRoleBinding"} or not _is_for(binding, account, namespace):
            continue
        kind, name, where = at(binding, "roleRef", "kind"), at(binding, "roleRef", "name"), _namespace(binding)
        for rule in rules[kind, where if kind == "Role" else "", name]:
            found.update(_parts(rule, where))
    return frozenset(found)


def uses(log: Path, *, user: str) -> tuple[frozenset[Use], frozenset[Use]]:
    """Return what ``user`` did by the audit ``log``, and what the API server refused to it for want of rights."""
    done: set[Use] = set()
    refused: set[Use] = set()
    for event in _events(log):
        if at(event, "user", "username") != user or (use := _use(event)) is None:
            continue
        status = event.get("responseStatus")
        denied = isinstance(status, dict) and status.get("code") == 403 and _decision(event) != "allow"
        (refused if denied else done).add(use)
    return frozenset(done), frozenset(refused)


def compare(granted: frozenset[Right], done: frozenset[Use], refused: frozenset[Use], spare: frozenset[Right] = frozenset()) -> Verdict:
    """Return how ``granted`` compares with what was ``done`` and ``refused``; ``spare`` are rights that the run had no occasion to use."""
    return Verdict(
        refused=tuple(sorted(refused)),
        not_granted=tuple(sorted(use for use in done if not any(right.covers(use) for right in granted))),
        not_used=tuple(sorted(right for right in granted - spare if not any(right.covers(use) for use in done))),
    )


def verdict(log: Path, manifests: Iterable[Json], *, spare: frozenset[Right] = frozenset()) -> Verdict:
    """Return how the rights of Navarch's ServiceAccount by ``manifests`` compare with what it did by the audit ``log``."""
    granted = rights(manifests, account="navarch", namespace="navarch-system")
    done, refused = uses(log, user="system:serviceaccount:navarch-system:navarch")
    assert done, f"{log} says nothing of Navarch's ServiceAccount: with which one did it run?"
    return compare(granted, done, refused, spare)


def _namespace(document: Json) -> str:
    metadata = document["metadata"]
    assert isinstance(metadata, dict)
    return str(metadata.get("namespace", ""))


def _is_for(binding: Json, account: str, namespace: str) -> bool:
    return any(
        (each["kind"], each["name"], each.get("namespace")) == ("ServiceAccount", account, namespace)
        for each in objects(binding["subjects"])
    )


def _parts(rule: Json, namespace: str) -> Iterator[Right]:
    assert "nonResourceURLs" not in rule, "paths beside resources are not granted"
    for group in words(rule["apiGroups"]):
        for resource in words(rule["resources"]):
            for verb in words(rule["verbs"]):
                for name in words(rule.get("resourceNames")) or ("",):
                    yield Right(verb, group, resource, namespace, name)


def _events(log: Path) -> Iterator[Json]:
    for line in log.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):
            return  # being written
        event = json.loads(line)
        assert isinstance(event, dict)
        if event.get("stage") in {"ResponseStarted", "ResponseComplete", "Panic"}:
            yield event


def _decision(event: Json) -> object:
    annotations = event.get("annotations")
    return annotations.get("authorization.k8s.io/decision") if isinstance(annotations, dict) else None


def _use(event: Json) -> Use | None:
    """Return what ``event`` tells of; None for what every authenticated user may do."""
    if "objectRef" not in event:
        path = str(event["requestURI"]).partition("?")[0]
        return None if path.startswith(ALWAYS_ALLOWED) else Use(str(event["verb"]), "", path)
    about = event["objectRef"]
    assert isinstance(about, dict)
    sub = about.get("subresource")
    verb = str(event["verb"])
    return Use(
        verb=verb,
        group=str(about.get("apiGroup", "")),
        resource=f"{about['resource']}/{sub}" if sub else str(about["resource"]),
        namespace=str(about.get("namespace", "")),
        name="" if verb == "create" and not sub else str(about.get("name", "")),  # rights to create know no names
    )
