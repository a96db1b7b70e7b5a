"""What RequestAuthentications must keep to.

https://istio.io/latest/docs/reference/config/security/request_authentication/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from controlplane.objects.reading.json import decode_json
from controlplane.objects.reading.yaml import UnreadableError
from controlplane.objects.security.jwks import MAX_TIMEOUT_MS
from controlplane.objects.security.request_authentication import JWTHeader, JWTRule, RequestAuthentication
from controlplane.objects.security.rules.authorization_policy import DRY_RUN
from controlplane.objects.types import rules, url_rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import is_header
from controlplane.objects.types.selector_rules import check_attachment


def check(authentication: RequestAuthentication) -> Iterator[Finding]:
    """Yield what is wrong with ``authentication``."""
    if DRY_RUN in authentication.meta.annotations:
        yield rules.conflict(f"metadata.annotations.{DRY_RUN}", "expected this on an AuthorizationPolicy only")
    yield from check_attachment(authentication.spec)
    for index, rule in enumerate(authentication.spec.jwt_rules):
        yield from _rule(f"spec.jwtRules[{index}]", rule)


def _rule(path: str, rule: JWTRule) -> Iterator[Finding]:
    keys = (("jwksUri", rule.jwks_uri), ("jwks_uri", rule.deprecated_jwks_uri), ("jwks", rule.jwks))
    sources = [name for name, source in keys if source is not None]
    if len(sources) > 1:
        yield rules.conflict(path, f"expected one of {' and '.join(sources)}, found both")
    if not rule.issuer and not sources:
        yield rules.required(f"{path}.issuer", "an issuer, or its keys by jwks or jwksUri")
    for name, uri in keys[:2]:
        if uri is not None:
            yield from url_rules.web_url(f"{path}.{name}", uri)
    if rule.jwks and not _is_key_set(rule.jwks):
        yield rules.out_of_range(f"{path}.jwks", "a JSON Web Key Set (RFC 7517)", rule.jwks)
    if rule.timeout is not None and rule.timeout > MAX_TIMEOUT_MS:
        message = f"keys are waited for {MAX_TIMEOUT_MS // 1000} s at most: others have to be fetched too"
        yield rules.warning(f"{path}.timeout", "Limited", message)
    yield from check_headers(f"{path}.fromHeaders", rule.from_headers)
    for index, claim in enumerate(rule.output_claim_to_headers):
        if not is_header(claim.header):
            yield rules.out_of_range(f"{path}.outputClaimToHeaders[{index}].header", "the name of a header", claim.header)
    payload_header = rule.output_payload_to_header
    if payload_header and (payload_header.startswith(":") or not is_header(payload_header)):  # :path would change before policies judge it
        yield rules.out_of_range(f"{path}.outputPayloadToHeader", "the name of a header", payload_header)


def check_headers(path: str, headers: Sequence[JWTHeader]) -> Iterator[Finding]:
    """Yield what is wrong with the ``headers`` in which tokens are looked for."""
    for index, header in enumerate(headers):
        if not is_header(header.name):
            yield rules.out_of_range(f"{path}[{index}].name", "the name of a header", header.name)
        yield from rules.single_line(f"{path}[{index}]", prefix=header.prefix)


def _is_key_set(text: str) -> bool:
    try:
        document = decode_json(text)
    except (ValueError, UnreadableError):
        return False
    if not isinstance(document, dict):
        return False
    keys = document.get("keys", [document])  # one key alone is fine too
    return isinstance(keys, list) and all(isinstance(key, Mapping) and isinstance(key.get("kty"), str) for key in keys)
