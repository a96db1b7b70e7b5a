"""What the filter that verifies tokens makes of a request: without a token it passes; of one that it has, the signature is not checked.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/jwt_authn_filter
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from urllib.parse import parse_qsl

from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication, JwtProvider, JwtRequirement

from controlplane.simulation.access.facts import AccessFacts
from controlplane.simulation.access.filters import Judged
from controlplane.simulation.matching.head import Head
from controlplane.simulation.result import Stage, Walk

_BEARER = "Bearer "


def judged_by_tokens(walk: Walk, name: str, config: JwtAuthentication, facts: AccessFacts, claims: Mapping[str, object] | None) -> Judged:
    """Return what the filter ``name`` makes of a request; ``claims`` are those of its token, taken as valid, where it has one."""
    head = facts.head
    if head is None or _is_preflight(config, head):
        return Judged(walk, facts)
    if claims is not None:
        found = _provider(config.providers.values(), claims)
        if found is None:
            walk = walk.step(Stage.POLICIES, "token", name, f"nobody is trusted whose tokens say iss={claims.get('iss')}")
            return Judged(walk, facts, allowed=False)
        says = f"the token of {found.issuer} is taken as valid"
        told = {found.payload_in_metadata: _normalized(found, claims)} if found.payload_in_metadata else {}
        return Judged(walk.step(Stage.POLICIES, "token", found.issuer, says), replace(facts, metadata={**facts.metadata, name: told}))
    if any(_has_token(provider, head) for provider in config.providers.values()):
        walk = walk.step(Stage.POLICIES, "token", name, "verifies its token, and may refuse it: that is not simulated")
        unknown = {key: value for key, value in facts.metadata.items() if key != name}
        return Judged(replace(walk, asks=(*walk.asks, name)), replace(facts, metadata=unknown))
    if all(_takes_nothing(rule.requires) for rule in config.rules):
        return Judged(walk.step(Stage.POLICIES, "token", "", "it has no token, and none is asked for"), facts)
    return Judged(walk.passing(Stage.POLICIES, name), facts)


def _is_preflight(config: JwtAuthentication, head: Head) -> bool:
    asks = head.value("origin") and head.value("access-control-request-method")
    return config.bypass_cors_preflight and head.method == "OPTIONS" and bool(asks)


def _provider(providers: Iterable[JwtProvider], claims: Mapping[str, object]) -> JwtProvider | None:
    audience = claims.get("aud")
    audiences = set(audience if isinstance(audience, list) else [audience])
    return next(
        (each for each in providers if each.issuer == claims.get("iss") and (not each.audiences or audiences & set(each.audiences))), None
    )


def _normalized(provider: JwtProvider, claims: Mapping[str, object]) -> dict[str, object]:
    divided = set(provider.normalize_payload_in_metadata.space_delimited_claims)
    return {name: value.split(" ") if name in divided and isinstance(value, str) else value for name, value in claims.items()}


def _has_token(provider: JwtProvider, head: Head) -> bool:
    return any(_places(provider, head))


def _places(provider: JwtProvider, head: Head) -> Iterator[bool]:
    """Yield of each place where ``provider`` looks for tokens whether there is something."""
    query = dict(parse_qsl(head.path.partition("?")[2], keep_blank_values=True))
    given = bool(provider.from_headers or provider.from_params or provider.from_cookies)
    for header in provider.from_headers:
        yield header.value_prefix in (head.value(header.name) or "") if head.value(header.name) is not None else False
    for name in provider.from_params:
        yield name in query
    cookies = {cookie.partition("=")[0].strip() for cookie in (head.value("cookie") or "").split(";")}
    for name in provider.from_cookies:
        yield name in cookies
    if not given:
        yield _BEARER in (head.value("authorization") or "")
        yield "access_token" in query


def _takes_nothing(requirement: JwtRequirement) -> bool:
    match requirement.WhichOneof("requires_type"):
        case "allow_missing" | "allow_missing_or_failed" | None:
            return True
        case "requires_any":
            return any(_takes_nothing(each) for each in requirement.requires_any.requirements)
        case "requires_all":
            return all(_takes_nothing(each) for each in requirement.requires_all.requirements)
        case _:
            return False
