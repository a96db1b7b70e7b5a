"""An AdmissionReview in, the verdict out: the validator is the one that everything else goes through too. Pure.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#response
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from controlplane.errors import PeerError
from controlplane.model.problems import Problem, Severity
from controlplane.objects.parse import parse
from controlplane.untyped import Json, section
from controlplane.webhooks.self_review import self_review_warning

API_VERSION = "admission.k8s.io/v1"
_MAX_MESSAGE = 4000
_MAX_WARNINGS = 20
_MAX_WARNING = 240  # of all together the API server takes 4096 characters


class BadAdmissionReview(PeerError, ValueError):
    """What was sent is no AdmissionReview: why."""


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """The request of an AdmissionReview."""

    uid: str
    data: Json

    @property
    def stored(self) -> Json:
        """Return the object that is to be stored, empty where there is none."""
        return section(self.data, "object")

    @property
    def object(self) -> Json:
        """Return the object that is to be stored; raises BadReview where there is none."""
        if not isinstance(self.data.get("object"), dict):
            raise BadAdmissionReview("expected the object that is to be stored")
        return self.stored

    @property
    def dry_run(self) -> bool:
        """Return whether the object is not going to be stored."""
        return self.data.get("dryRun") is True


@dataclass(frozen=True, slots=True)
class AdmissionVerdict:
    """The answer to one review, and its outcome in a word."""

    outcome: str  # allowed, refused, injected
    body: bytes


def admission_request(body: bytes) -> AdmissionRequest:
    """Return what the AdmissionReview ``body`` asks; raises BadReview."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadAdmissionReview("expected JSON") from error
    if not isinstance(data, dict) or data.get("kind") != "AdmissionReview" or data.get("apiVersion") != API_VERSION:
        raise BadAdmissionReview(f"expected an AdmissionReview of {API_VERSION}")
    request = data.get("request")
    uid = request.get("uid") if isinstance(request, dict) else None
    if not isinstance(request, dict) or not isinstance(uid, str) or not uid:
        raise BadAdmissionReview("expected a request with a uid")
    return AdmissionRequest(uid, request)


def allowed(uid: str, warnings: Sequence[str] = (), patch: Sequence[Json] = ()) -> AdmissionVerdict:
    """Return that the request ``uid`` is stored, changed by ``patch``, and what its writer is warned of."""
    response: Json = {"uid": uid, "allowed": True}
    if patch:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(patch)).decode()}
    return _verdict("injected" if patch else "allowed", response, warnings)


def refused(uid: str, problems: Sequence[str], warnings: Sequence[str] = ()) -> AdmissionVerdict:
    """Return that the request ``uid`` is not stored, for its ``problems``."""
    status = {"code": 422, "reason": "Invalid", "message": "; ".join(problems)[:_MAX_MESSAGE]}
    return _verdict("refused", {"uid": uid, "allowed": False, "status": status}, warnings)


def validate(body: bytes, path: str) -> AdmissionVerdict:
    """Return the verdict on the object of the mesh that the AdmissionReview ``body``, sent to ``path``, is about; raises BadReview."""
    request = admission_request(body)
    problems = tuple(_problems(request))
    errors = [_line(problem) for problem in problems if problem.severity is Severity.ERROR]
    warnings = [_line(problem) for problem in problems if problem.severity is Severity.WARNING]
    if errors:
        return refused(request.uid, errors, warnings)
    return allowed(request.uid, (*self_review_warning(request.stored, path, dry_run=request.dry_run), *warnings))


def _verdict(outcome: str, response: Json, warnings: Sequence[str]) -> AdmissionVerdict:
    if warnings:
        response["warnings"] = [warning[:_MAX_WARNING] for warning in warnings[:_MAX_WARNINGS]]
    return AdmissionVerdict(outcome, orjson.dumps({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}))


def _problems(request: AdmissionRequest) -> Sequence[Problem]:
    if request.data.get("operation") not in ("CREATE", "UPDATE"):
        return ()
    document = request.object
    metadata = document.get("metadata")
    if isinstance(metadata, dict) and "deletionTimestamp" in metadata:
        return ()  # whoever removes its finalizers must not be held up
    if isinstance(metadata, dict) and not metadata.get("name") and metadata.get("generateName"):
        document = {**document, "metadata": {**metadata, "name": "generated"}}
    return parse(document).problems


def _line(problem: Problem) -> str:
    return f"{problem.field}: {problem.message}" if problem.field else problem.message
