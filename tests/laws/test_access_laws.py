"""Whatever validation accepts of policies of access can be made into filters: nobody is open, or shut, for what a user wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hypothesis import HealthCheck, assume, given
from hypothesis import strategies as st

from controlplane.envoy.type_urls import LDS
from controlplane.mesh.mesh import Mesh
from controlplane.model.proxies import proxy_from_node
from controlplane.objects.changes import Change, split
from controlplane.objects.parse import parse
from controlplane.xds.stream import Variant
from tests.support.proofs import sampled

Json = Mapping[str, object]
PROXY = proxy_from_node("sidecar~10.0.0.1~p.a~a.svc.cluster.local", {"LABELS": {"app": "x"}})
SIDES = ("hosts", "ports", "methods", "paths")
SOURCES = ("principals", "requestPrincipals", "namespaces", "serviceAccounts", "trustDomains", "ipBlocks", "remoteIpBlocks")
KEYS = (
    *("source.ip", "remote.ip", "destination.ip", "destination.port", "source.namespace", "source.principal", "source.serviceAccount"),
    *("source.trustDomain", "connection.sni", "request.auth.principal", "request.auth.audiences", "request.auth.presenter"),
    *(
        "request.headers[x]",
        "request.headers[:path]",
        "request.auth.claims[a]",
        "request.auth.claims[a.b][c]",
        "experimental.envoy.filters.x[y]",
    ),
)
words = st.one_of(
    st.sampled_from(("*", "a*", "*a", "**", "a", "a/b", "/", "*/", "/*", "a/ns/b/sa/c", "/{*}/a/{**}", "80", "10.0.0.0/8", "::1", "[a]")),
    st.text(min_size=1, max_size=8),
)
some = st.lists(words, min_size=1, max_size=3)


def fields(names: tuple[str, ...]) -> st.SearchStrategy[Json]:
    every = [*names, *(f"not{name[0].upper()}{name[1:]}" for name in names)]
    return st.dictionaries(st.sampled_from(every), some, min_size=1, max_size=2)


conditions = st.builds(
    lambda key, field, values: {"key": key, field: values}, st.sampled_from(KEYS), st.sampled_from(("values", "notValues")), some
)
rules = st.fixed_dictionaries(
    {},
    optional={
        "from": st.lists(fields(SOURCES).map(lambda source: {"source": source}), min_size=1, max_size=2),
        "to": st.lists(fields(SIDES).map(lambda operation: {"operation": operation}), min_size=1, max_size=2),
        "when": st.lists(conditions, max_size=2),
    },
)
issuers = st.fixed_dictionaries(
    {"issuer": words},
    optional={
        "audiences": some,
        "jwks": st.sampled_from(('{"keys":[]}', '{"keys":[{"kty":"RSA"}]}', '{"kty":"EC"}')),
        "fromHeaders": st.lists(st.fixed_dictionaries({"name": words}, optional={"prefix": words}), max_size=2),
        "fromParams": some,
        "fromCookies": some,
        "outputPayloadToHeader": words,
        "outputClaimToHeaders": st.lists(st.fixed_dictionaries({"header": words, "claim": words}), max_size=2),
        "spaceDelimitedClaims": some,
    },
)


def shown(*documents: Json) -> None:
    """Refresh a mesh of ``documents``, as far as they are accepted, and see that its workload has its listener."""
    mesh = Mesh()
    accepted = [parsed for value in documents if (parsed := parse(value)).object is not None]
    assume(len(accepted) == len(documents))
    mesh.apply(split(Change(each.key, each.object) for each in accepted if each.key)[0])
    session = mesh.connect(PROXY, Variant.SOTW)

    published = mesh.refresh()

    assert published.failed == ()
    assert session.view.get(LDS, "virtualInbound") is not None
    assert [each.code for each in mesh.problems() if each.severity == "error"] == []


def policy(kind: str, spec: Json) -> Json:
    return {"apiVersion": "security.istio.io/v1", "kind": kind, "metadata": {"name": "x", "namespace": "a"}, "spec": spec}


LAW = sampled(300, list(HealthCheck))
odd = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1, 99999), words, st.sampled_from(("\0", "\ud800", "STRICT", "x"))),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
OWN = {"matchLabels": {"app": "x"}}  # of the workload that asks
DENIES = b"ns[a]-policy[x]-rule[0]"


def fields_of(**names: st.SearchStrategy[object]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({}, optional={name: value | odd for name, value in names.items()})


odd_authorizations = fields_of(
    selector=st.just(OWN), action=st.sampled_from(("ALLOW", "DENY", "AUDIT", "CUSTOM", "DENNY")), rules=st.lists(rules | odd, max_size=2)
)
odd_authentications = fields_of(selector=st.just(OWN), jwtRules=st.lists(issuers | fields_of(fromHeaders=odd, fromParams=some), max_size=2))
odd_peers = fields_of(selector=st.just(OWN), mtls=fields_of(mode=st.sampled_from(("STRICT", "STRICTT"))), portLevelMtls=odd)


def closed(document: Json) -> bytes:
    """Return the listener of a workload that there is nothing for but ``document``, which is refused."""
    parsed, again = parse(document), parse(document)
    assume(parsed.object is None and parsed.identified)
    stands = parsed.usable(None)
    assert stands == again.usable(stands)
    mesh = Mesh()
    if stands is not None and parsed.key is not None:
        mesh.apply(split([Change(parsed.key, stands)])[0])
    session = mesh.connect(PROXY, Variant.SOTW)

    published = mesh.refresh()
    listener = session.view.get(LDS, "virtualInbound")

    assert published.failed == ()
    assert listener is not None
    assert [each.code for each in mesh.problems() if each.severity == "error"] == []
    return listener.value


@LAW
@given(rules, st.sampled_from(("ALLOW", "DENY", "AUDIT", "CUSTOM")), st.sampled_from(("http", "grpc", "nobody")))
def test_every_authorization_that_is_accepted_can_be_enforced(rule: Json, action: str, provider: str) -> None:
    at = {"service": "authz.a.svc.cluster.local", "port": 80}
    providers = [{"name": "http", "envoyExtAuthzHttp": at}, {"name": "grpc", "envoyExtAuthzGrpc": at}]
    mesh = {"metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": json.dumps({"extensionProviders": providers})}}
    ports = {"ports": [{"name": "http", "port": 80}]}

    shown(
        {"apiVersion": "v1", "kind": "ConfigMap", **mesh},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "authz", "namespace": "a"}, "spec": ports},
        policy(
            "AuthorizationPolicy", {"action": action, "rules": [rule], **({"provider": {"name": provider}} if action == "CUSTOM" else {})}
        ),
    )


@LAW
@given(issuers)
def test_every_authentication_that_is_accepted_can_be_enforced(issuer: Json) -> None:
    shown(policy("RequestAuthentication", {"jwtRules": [issuer]}))


@LAW
@given(odd_authorizations | odd)
def test_every_authorization_that_is_refused_denies_unless_it_was_to_watch(spec: object) -> None:
    listener = closed({**policy("AuthorizationPolicy", {}), "spec": spec})

    assert (DENIES in listener) == (not isinstance(spec, dict) or spec.get("action") != "AUDIT")


@LAW
@given(odd_authentications | odd)
def test_every_authentication_that_is_refused_believes_nobody(spec: object) -> None:
    listener = closed({**policy("RequestAuthentication", {}), "spec": spec})

    assert listener.count(b'{"keys":') == listener.count(b'{"keys":[{"kty":"EC","crv":"P-256","kid":"nobody"')


@LAW
@given(odd_peers | odd)
def test_every_peer_authentication_that_is_refused_is_strict(spec: object) -> None:
    assert closed({**policy("PeerAuthentication", {}), "spec": spec}) == closed(policy("PeerAuthentication", {"mtls": 1}))
