"""Whose tokens are believed. A request without a token passes, one with a token that is not believed does not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication, JwtProvider, JwtRequirement

from controlplane.ir.access import TokenIssuer
from controlplane.translate.filters.base import Chain, HttpFilter
from controlplane.translate.rbac.claims import PAYLOAD, VERIFIER

# A point of the curve P-256 whose x is the SHA-256 of "navarch: a key that nobody holds, 2" (with 0 and 1 there is none): nobody knows
# its private half. It stands in every set, as Envoy refuses a listener over a set without any key that it can use.
NOBODYS_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "kid": "nobody",
    "x": "8J17g25PoBCu_E210C8L-cbsKB6XK5eWkrmGjKJ-Wkc",
    "y": "iy-pTJ4ocyygrz-WcDSeueBDsBeDHr_-_q6PgLg55ag",
}
_SPACE_DELIMITED = ("scope", "permission")  # always, in Istio


def _of_chain(chain: Chain) -> Iterator[JwtAuthentication]:
    issuers = chain.access.issuers
    if issuers:
        providers = {f"origins-{index}": _provider(issuer, routes=not chain.inbound) for index, issuer in enumerate(issuers)}
        yield JwtAuthentication(
            providers=providers,
            rules=[{"match": {"prefix": "/"}, "requires": _requirement(list(providers))}],
            bypass_cors_preflight=True,
        )


def _provider(issuer: TokenIssuer, *, routes: bool) -> JwtProvider:
    """Return how tokens of ``issuer`` are found and verified; ``routes``: what they say may decide where requests go."""
    return JwtProvider(
        issuer=issuer.issuer,
        audiences=issuer.audiences,
        local_jwks={"inline_string": _key_set(issuer.keys)},
        forward=issuer.forward,
        from_headers=[{"name": name, "value_prefix": prefix} for name, prefix in issuer.from_headers],
        from_params=issuer.from_params,
        from_cookies=issuer.from_cookies,
        forward_payload_header=issuer.payload_header,
        payload_in_metadata=PAYLOAD,
        normalize_payload_in_metadata={"space_delimited_claims": dict.fromkeys((*_SPACE_DELIMITED, *issuer.space_delimited))},
        claim_to_headers=[{"header_name": header, "claim_name": claim} for header, claim in issuer.claim_headers],
        clear_route_cache=routes,
    )


def _key_set(keys: str | None) -> str:
    issuer_keys = json.loads(keys)["keys"] if keys else []
    return json.dumps({"keys": [*issuer_keys, NOBODYS_KEY]}, separators=(",", ":"))


def _requirement(providers: Sequence[str]) -> JwtRequirement:
    """Return that a token of one of ``providers``, if there is one, is valid.

    Where there are several, each place may hold a token for one of them only: either the token of some provider is valid, or there is no
    token, or each token is valid for its provider.
    """
    valid = [JwtRequirement(provider_name=provider) for provider in providers]
    nothing = JwtRequirement(allow_missing={})
    if len(valid) == 1:
        return _any([*valid, nothing])
    each_or_none = JwtRequirement(requires_all={"requirements": [_any([requirement, nothing]) for requirement in valid]})
    return _any([*valid, each_or_none])


def _any(requirements: Sequence[JwtRequirement]) -> JwtRequirement:
    return JwtRequirement(requires_any={"requirements": requirements})


JWT_AUTHN = HttpFilter(VERIFIER, _of_chain)
