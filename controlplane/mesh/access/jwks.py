"""Which issuers' keys are needed, and the problems where they cannot be fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controlplane.incremental.database import Database, eager_query, query
from controlplane.mesh.facets import namespaces_with, of_kind
from controlplane.mesh.inputs import index, jwks, jwks_failure, objects
from controlplane.model.keys import REQUEST_AUTHENTICATION, Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.security.request_authentication import RequestAuthentication
from controlplane.objects.types.scalars import FrozenMap

WantedKeys = Mapping[str, int | None]  # by address: how many milliseconds an answer is waited for, as objects say; None: they do not


@query
def wanted_keys(db: Database) -> WantedKeys:
    """Return the addresses where the issuers that objects name publish their keys; of several timeouts for one the longest counts."""
    keys = (
        key
        for marker in index(db, namespaces_with(REQUEST_AUTHENTICATION))
        for key in index(db, of_kind(REQUEST_AUTHENTICATION, marker.namespace))
    )
    wanted: dict[str, int | None] = {}
    for key in sorted(keys):
        for address, timeout_ms in key_addresses(db, key):
            wanted[address] = max(filter(None, (wanted.get(address), timeout_ms)), default=None)
    return FrozenMap(wanted)


@eager_query
def key_addresses(db: Database, key: Key) -> tuple[tuple[str, int | None], ...]:
    """Return the addresses of keys that the RequestAuthentication ``key`` names, each with its timeout in milliseconds."""
    authentication = objects(db, key)
    rules = authentication.spec.jwt_rules if isinstance(authentication, RequestAuthentication) else ()
    return tuple((address, rule.timeout) for rule in rules if (address := rule.jwks_url))


def missing_keys(db: Database, authentication: RequestAuthentication) -> Iterator[Problem]:
    """Yield a Problem for each rule of ``authentication`` whose keys cannot be fetched now, or cannot be used."""
    for position, rule in enumerate(authentication.spec.jwt_rules):
        if failure := rule.inline_keys().failure:
            message = f"{failure}; every token of this issuer is refused"
            yield Problem(authentication.key, f"spec.jwtRules[{position}].jwks", Severity.WARNING, "NoKeys", message)
        address = rule.jwks_url
        if address is None or not (fetch_failure := jwks_failure(db, address)):
            continue
        field = "issuer" if address not in (rule.jwks_uri, rule.deprecated_jwks_uri) else "jwksUri" if rule.jwks_uri else "jwks_uri"
        consequence = "those fetched last are used" if jwks(db, address) else "until they come, every token of this issuer is refused"
        yield Problem(
            authentication.key,
            f"spec.jwtRules[{position}].{field}",
            Severity.WARNING,
            "NoKeys",
            f"the keys cannot be fetched: {fetch_failure}; {consequence}",
        )
