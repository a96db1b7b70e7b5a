"""An AdmissionReview in, the verdict out: the validator is the one that everything else goes through too. Pure.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#response
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from controlplane.model.problems import Problem, Severity
from controlplane.objects.parse import parse

API_VERSION = "admission.k8s.io/v1"
_MAX_MESSAGE = 4000
_MAX_WARNINGS = 20
_MAX_WARNING = 240  # of all together the API server takes 4096 characters


class BadReview(ValueError):
    """What was sent is no AdmissionReview: why."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one review, and what it was."""

    allowed: bool
    body: bytes


def review(body: bytes) -> Verdict:
    """Return the verdict on the AdmissionReview ``body``; raises BadReview."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadReview("expected JSON") from error
    if not isinstance(data, dict) or data.get("kind") != "AdmissionReview" or data.get("apiVersion") != API_VERSION:
        raise BadReview(f"expected an AdmissionReview of {API_VERSION}")
    request = data.get("request")
    uid = request.get("uid") if isinstance(request, dict) else None
    if not isinstance(request, dict) or not isinstance(uid, str) or not uid:
        raise BadReview("expected a request with a uid")
    problems = tuple(_problems(request))
    errors = [each for each in problems if each.severity is Severity.ERROR]
    warnings = [_line(each)[:_MAX_WARNING] for each in problems if each.severity is Severity.WARNING]
    response: dict[str, object] = {"uid": uid, "allowed": not errors}
    if errors:
        message = "; ".join(map(_line, errors))[:_MAX_MESSAGE]
        response["status"] = {"code": 422, "reason": "Invalid", "message": message}
    if warnings:
        response["warnings"] = warnings[:_MAX_WARNINGS]
    answer = {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}
    return Verdict(not errors, orjson.dumps(answer))


def _problems(request: Mapping[str, object]) -> Sequence[Problem]:
    if request.get("operation") not in ("CREATE", "UPDATE"):
        return ()
    value = request.get("object")
    if not isinstance(value, dict):
        raise BadReview("expected the object that is to be stored")
    metadata = value.get("metadata")
    if isinstance(metadata, dict) and "deletionTimestamp" in metadata:
        return ()  # whoever takes its finalizers off must not be held up
    if isinstance(metadata, dict) and not metadata.get("name") and metadata.get("generateName"):
        value = {**value, "metadata": {**metadata, "name": "generated"}}
    return parse(value).problems


def _line(each: Problem) -> str:
    return f"{each.field}: {each.message}" if each.field else each.message
