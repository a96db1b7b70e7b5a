"""What stands for an object of security that cannot be used: its closed form, by which a mistake opens nothing.

It follows from what is written and from nothing else, so that it is the same at once, after a restart, and on every replica.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeAlias, TypeVar

from pydantic import ValidationError

from controlplane.model.keys import AUTHORIZATION_POLICY, PEER_AUTHENTICATION, RATE_LIMIT, REQUEST_AUTHENTICATION, GroupKind, Key
from controlplane.model.problems import CLOSED, NOT_IN_EFFECT
from controlplane.objects.reading.sanitize import InvalidJson, sanitized
from controlplane.objects.security.authorization_policy import AuthorizationPolicy
from controlplane.objects.security.peer_authentication import PeerAuthentication
from controlplane.objects.security.rate_limit import ClosedRateLimit
from controlplane.objects.security.request_authentication import JWTHeader, RequestAuthentication
from controlplane.objects.security.rules.authorization_policy import DRY_RUN, TRUE
from controlplane.objects.security.rules.request_authentication import check_headers
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.scalars import Model
from controlplane.objects.types.selector_rules import POLICY_TARGETS, WORKLOAD_TARGETS, Targets, check_attachment
from controlplane.objects.types.selectors import SinglePolicyAttachment
from controlplane.untyped import section

_ATTACHMENTS = ("selector", "targetRef", "targetRefs")
_MAX_RULES = 4096  # as many as an object may have
# Where Envoy looks for tokens if a rule does not say: https://www.rfc-editor.org/rfc/rfc6750#section-2
_USUAL_PLACES: Mapping[str, object] = {"fromHeaders": [{"name": "Authorization", "prefix": "Bearer "}], "fromParams": ["access_token"]}
_NO_KEYS: Mapping[str, object] = {"jwks": ""}  # with which every token is refused
M = TypeVar("M", bound=Model)
Json: TypeAlias = Mapping[str, object]
SecurityObject: TypeAlias = AuthorizationPolicy | RequestAuthentication | PeerAuthentication | ClosedRateLimit


class ClosedRequestAuthentication(RequestAuthentication):
    """What stands for one that cannot be used: rules without keys, wherever tokens were to be found."""


class ClosedPeerAuthentication(PeerAuthentication):
    """What stands for one that cannot be used: STRICT, on all ports."""

    selector_unreadable: bool = False  # it may have been of any workload of its namespace, so that no other policy goes before it


class ClosedForm(NamedTuple):
    """The object that is used instead, ``None`` where nothing was to be enforced, and what its user is told of that."""

    object: SecurityObject | None
    consequence: Finding


class _Written(NamedTuple):
    """What can be read of an object: its metadata and its spec, and what of that says what it is for (``None``: cannot be read)."""

    metadata: Json
    spec: Json | None
    attachment: Json | None
    dry_run: bool

    def consequence(self, effect: str) -> Finding:
        """Return that ``effect`` holds wherever the object may have been meant to."""
        if self.attachment is not None:
            return Finding("", CLOSED, f"until this is mended, what it selects {effect}")
        everything = f"all of {self.metadata['namespace']} (all of the mesh, if that is the root namespace)"
        return Finding("", CLOSED, f"until this is mended, {everything} {effect}: its selector or its targetRefs cannot be read")


def closed_form(key: Key, document: Json) -> ClosedForm | None:
    """Return what stands for the object ``key``, whose ``document`` cannot be used; ``None`` where it is not to keep anybody out."""
    form = _FORMS.get(key.group_kind)
    metadata, spec = section(document, "metadata"), document.get("spec")
    written_spec = {} if spec is None else spec if isinstance(spec, dict) else None
    if form is None or (key.group_kind == RATE_LIMIT and not _fails_closed(written_spec)):
        return None
    targets = WORKLOAD_TARGETS if key.group_kind == RATE_LIMIT else POLICY_TARGETS
    dry_run = section(metadata, "annotations").get(DRY_RUN)
    return form(_Written(_metadata(key, metadata), written_spec, _attachment(written_spec, targets), dry_run is True or dry_run in TRUE))


def _metadata(key: Key, written: Json) -> Json:
    """Return the metadata of the object ``key`` as far as they can be read: labels say for which revision it is."""
    created = _texts({"creationTimestamp": written.get("creationTimestamp")})
    return {"name": key.name, "namespace": key.namespace, "labels": _texts(section(written, "labels")), **created}


def _texts(written: Json) -> Json:
    return {name: text for name, text in written.items() if _is_text(name) and _is_text(text)}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _attachment(spec: Json | None, targets: Targets) -> Json | None:
    """Return the fields by which ``spec`` says what it is for, ``None`` where one of them cannot be read."""
    if spec is None:
        return None
    written = {name: spec[name] for name in _ATTACHMENTS if name in spec}
    attachment = _read(SinglePolicyAttachment, written)
    if attachment is None or any(finding.fatal for finding in check_attachment(attachment, targets)):
        return None
    return sanitized(written)


def _read(model: type[M], written: Json) -> M | None:
    try:
        return model.model_validate(sanitized(written))
    except (ValidationError, InvalidJson):
        return None


def _authorization_policy(written: _Written) -> ClosedForm:
    """Return a denial of everything, whatever the action was to be; of what was to be watched alone, nothing."""
    action = (written.spec or {}).get("action", "ALLOW")
    if action == "AUDIT" or (written.dry_run and action != "CUSTOM"):
        return ClosedForm(None, Finding("", NOT_IN_EFFECT, "until this is mended, nothing is watched by it; it enforces nothing"))
    spec = {**(written.attachment or {}), "action": "DENY", "rules": [{}]}
    closed = AuthorizationPolicy.model_validate({"kind": AUTHORIZATION_POLICY.kind, "metadata": written.metadata, "spec": spec})
    return ClosedForm(closed, written.consequence("answers every request with 403 and closes every other connection"))


def _request_authentication(written: _Written) -> ClosedForm:
    """Return one that believes no token, wherever one can be expected."""
    closed = ClosedRequestAuthentication.model_validate(
        {
            "kind": REQUEST_AUTHENTICATION.kind,
            "metadata": written.metadata,
            "spec": {**(written.attachment or {}), "jwtRules": list(_rules(written.spec))},
        }
    )
    effect = "refuses every token that its rules would judge, and takes a request without one for nobody's"
    return ClosedForm(closed, written.consequence(effect))


def _rules(spec: Json | None) -> Iterator[Json]:
    """Yield rules that look for tokens where those of ``spec`` do, as far as that can be read, and have no keys."""
    rules = spec.get("jwtRules") if spec is not None else {}
    if rules is None:
        return
    if not isinstance(rules, list) or len(rules) > _MAX_RULES:
        yield {**_USUAL_PLACES, **_NO_KEYS}
        return
    for rule in rules:
        yield _rule(rule if isinstance(rule, dict) else {})


def _rule(written: Json) -> Json:
    places = {name: written[name] for name in ("fromHeaders", "fromParams", "fromCookies") if written.get(name) is not None}
    headers = [header for header in _items(places.get("fromHeaders")) if _names_header(header)]
    texts = {name: [text for text in _items(places.get(name)) if _is_place(text)] for name in ("fromParams", "fromCookies")}
    found: dict[str, list[object]] = {"fromHeaders": headers, **texts}
    if any(found[name] != places[name] for name in places):  # some place cannot be read: it may be the usual one
        for name, usual in _USUAL_PLACES.items():
            found[name] = [*found[name], *_items(usual)]
    issuer = written.get("issuer")
    return {"issuer": issuer if _is_place(issuer) else "", **found, **_NO_KEYS}


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _is_place(value: object) -> bool:
    return value != "" and _is_text(value)


def _names_header(written: object) -> bool:
    header = _read(JWTHeader, written) if isinstance(written, dict) else None
    return header is not None and not any(check_headers("", (header,)))


def _peer_authentication(written: _Written) -> ClosedForm:
    """Return one that takes mutual TLS alone."""
    selector = {name: value for name, value in (written.attachment or {}).items() if name == "selector"}
    closed = ClosedPeerAuthentication.model_validate(
        {
            "kind": PEER_AUTHENTICATION.kind,
            "metadata": written.metadata,
            "spec": {**selector, "mtls": {"mode": "STRICT"}},
            "selectorUnreadable": written.attachment is None,
        }
    )
    return ClosedForm(closed, written.consequence("takes mutual TLS alone (STRICT), on every port"))


def _fails_closed(spec: Json | None) -> bool:
    """Return whether a RateLimit with ``spec`` says that nothing is to pass where it cannot be used; what cannot be read says nothing."""
    written = spec or {}
    return written.get("failure") not in (None, "Open") and written.get("mode") != "DryRun"


def _rate_limit(written: _Written) -> ClosedForm:
    """Return one that lets no request through."""
    metadata = {"kind": RATE_LIMIT.kind, "metadata": written.metadata}
    return ClosedForm(
        ClosedRateLimit.model_validate({**metadata, "spec": written.attachment or {}}),
        written.consequence("answers every request with 503"),
    )


_FORMS: Mapping[GroupKind, Callable[[_Written], ClosedForm]] = {
    AUTHORIZATION_POLICY: _authorization_policy,
    REQUEST_AUTHENTICATION: _request_authentication,
    PEER_AUTHENTICATION: _peer_authentication,
    RATE_LIMIT: _rate_limit,
}
