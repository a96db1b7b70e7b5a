"""What RequestAuthentications must keep to.

https://istio.io/latest/docs/reference/config/security/request_authentication/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from controlplane.objects.reading.json import decode_json
from controlplane.objects.reading.yaml import UnreadableError
from controlplane.objects.security.request_authentication import JWTHeader, JWTRule, RequestAuthentication
from controlplane.objects.security.rules.authorization_policy import DRY_RUN
from controlplane.objects.types import rules, url_rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import is_header
from controlplane.objects.types.selector_rules import check_attachment


def check(value: RequestAuthentication) -> Iterator[Finding]:
    """Yield what is wrong with ``value``."""
    if DRY_RUN in value.meta.annotations:
        yield rules.conflict(f"metadata.annotations.{DRY_RUN}", "expected this on an AuthorizationPolicy only")
    yield from check_attachment(value.spec)
    for at, rule in enumerate(value.spec.jwt_rules):
        yield from _rule(f"spec.jwtRules[{at}]", rule)


def _rule(path: str, rule: JWTRule) -> Iterator[Finding]:
    keys = (("jwksUri", rule.jwks_uri), ("jwks_uri", rule.deprecated_jwks_uri), ("jwks", rule.jwks))
    said = [name for name, given in keys if given is not None]
    if len(said) > 1:
        yield rules.conflict(path, f"expected one of {' and '.join(said)}, found both")
    if not rule.issuer and not said:
        yield rules.required(f"{path}.issuer", "an issuer, or its keys by jwks or jwksUri")
    for name, uri in keys[:2]:
        if uri is not None:
            yield from url_rules.web_url(f"{path}.{name}", uri)
    if rule.jwks and not _is_key_set(rule.jwks):
        yield rules.out_of_range(f"{path}.jwks", "a JSON Web Key Set (RFC 7517)", rule.jwks)
    yield from _headers(path, rule.from_headers)
    for at, each in enumerate(rule.output_claim_to_headers):
        if not is_header(each.header):
            yield rules.out_of_range(f"{path}.outputClaimToHeaders[{at}].header", "the name of a header", each.header)
    told = rule.output_payload_to_header
    if told and (told.startswith(":") or not is_header(told)):  # :path would be another before policies judge it
        yield rules.out_of_range(f"{path}.outputPayloadToHeader", "the name of a header", told)


def _headers(path: str, headers: Sequence[JWTHeader]) -> Iterator[Finding]:
    for at, each in enumerate(headers):
        if not is_header(each.name):
            yield rules.out_of_range(f"{path}.fromHeaders[{at}].name", "the name of a header", each.name)
        yield from rules.single_line(f"{path}.fromHeaders[{at}]", prefix=each.prefix)


def _is_key_set(text: str) -> bool:
    try:
        found = decode_json(text)
    except (ValueError, UnreadableError):
        return False
    if not isinstance(found, dict):
        return False
    keys = found.get("keys", [found])  # one key alone is fine too
    return isinstance(keys, list) and all(isinstance(each, Mapping) and isinstance(each.get("kty"), str) for each in keys)
