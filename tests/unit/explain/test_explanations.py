"""What becomes of a request: on both sides, by which objects, and why others did not fit."""

from __future__ import annotations

import io

import pytest

from controlplane.explain.explanation import ExplainedStep, Explanation, TrafficVerdict
from controlplane.explain.offline import UnknownProxy, WrittenMesh
from controlplane.explain.questions.answers import QuestionTexts, explanation_of, judgement_of, resource_origins
from controlplane.explain.questions.question import BadQuestion
from controlplane.explain.work import finished
from controlplane.sources.files.once import STDIN, read_manifests
from tests.support.shop import SHOP

CLIENT = "cluster.local/ns/default/sa/client"


def written(text: str) -> WrittenMesh:
    folder, changes = read_manifests([STDIN], io.BytesIO(text.encode()))
    return WrittenMesh(changes, folder.location)


def explained(method: str, target: str, *headers: str, proxy: str = "client.default", more: str = "", **texts: str) -> Explanation:
    mesh = written(SHOP + more)
    asked = QuestionTexts(method=method, target=target, headers="\n".join(headers), **texts)
    return finished(explanation_of(mesh.sight, mesh.session_named(proxy), asked))


def judged(method: str, path: str, principal: str = "", *, more: str = "", **texts: str) -> Explanation:
    mesh = written(SHOP + more)
    asked = QuestionTexts(method=method, target=f"http://web{path}", principal=principal, **texts)
    return finished(judgement_of(mesh.sight, mesh.session_named("web-1.shop"), asked, 8080))


def step(explanation: Explanation, stage: str, way: int = 0) -> ExplainedStep:
    return next(each for each in explanation.ways[way].steps if each.stage == stage)


def test_the_rule_that_takes_a_request_is_named_with_those_that_did_not_fit() -> None:
    found = explained("GET", "http://web.shop/orders/7")

    route = step(found, "route")
    assert [(str(origin.key), origin.field, origin.location and origin.location.line) for origin in route.origins] == [
        ("VirtualService/shop/web", "spec.http[1]", 50)
    ]
    assert [(lost.why, lost.origins[0].field) for lost in route.lost] == [("the header x-user is missing, and not jane", "spec.http[0]")]
    assert (route.details["timeout"], route.details["path"]) == ("2 s", "rewritten to /v1/orders")
    assert [way.share for way in found.ways] == ["90 %", "10 %"]


def test_the_other_side_judges_the_request_as_it_was_rewritten() -> None:
    found = explained("GET", "http://web.shop/orders/7")

    [side] = found.ways[0].other_sides
    assert (side.endpoints, side.proxy.split("~")[2]) == (("10.0.0.1:8080",), "web-1.shop")
    assert side.transport.startswith("by mutual TLS to outbound_.80_.v1_.web.shop.svc.cluster.local")
    assert found.verdict is TrafficVerdict.ALLOWED
    assert "the path is /v1/orders/7" in found.ways[0].why


def test_a_denial_names_the_rule_that_would_have_let_it_in_and_what_of_it_failed() -> None:
    found = explained("POST", "http://web.shop/orders/7")

    assert found.verdict is TrafficVerdict.DENIED
    [lost] = next(each for each in found.ways[0].other_sides[0].ways[0].steps if each.stage == "policies").lost
    assert lost.why == "the method is POST, and not GET"
    assert str(lost.origins[0]) == "AuthorizationPolicy/shop/readers spec.rules[0] (standard input:62)"


def test_a_cluster_is_of_its_rule_its_service_and_its_endpoints() -> None:
    cluster = step(explained("GET", "http://web.shop/x", "x-user: jane"), "cluster")

    assert [(str(origin.key), origin.field) for origin in cluster.origins] == [
        ("DestinationRule/shop/web", "spec.subsets[1]"),
        ("Service/shop/web", "spec.ports"),
        ("EndpointSlice/shop/web-1", "endpoints"),
    ]
    assert cluster.details["endpoints"] == "1 healthy"


def test_plaintext_to_a_strict_workload_is_denied_by_its_peer_authentication() -> None:
    found = judged("GET", "/v1/x")

    assert found.verdict is TrafficVerdict.DENIED
    assert str(step(found, "filter chain").origins[0].key) == "PeerAuthentication/shop/strict"


@pytest.mark.parametrize(
    ("method", "path", "principal", "verdict"),
    [
        ("GET", "/v1/x", CLIENT, TrafficVerdict.ALLOWED),
        ("GET", "/v1/x?q=1", f"spiffe://{CLIENT}", TrafficVerdict.ALLOWED),
        ("GET", "/v2/x", CLIENT, TrafficVerdict.DENIED),
        ("GET", "/v1/x", "cluster.local/ns/default/sa/other", TrafficVerdict.DENIED),
    ],
)
def test_who_may_do_what(method: str, path: str, principal: str, verdict: TrafficVerdict) -> None:
    assert judged(method, path, principal).verdict is verdict


TOKENS = """\
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec: {jwtRules: [{issuer: https://issuer.example, jwks: '{"keys": []}'}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: tokens, namespace: shop}
spec:
  action: DENY
  rules: [{from: [{source: {notRequestPrincipals: ["*"]}}]}]
"""


def test_a_token_that_is_not_verified_here_leaves_the_verdict_open() -> None:
    without = judged("GET", "/v1/x", CLIENT, more=TOKENS)
    with_token = judged("GET", "/v1/x", CLIENT, more=TOKENS, headers="authorization: Bearer a.b.c")
    believed = judged("GET", "/v1/x", CLIENT, more=TOKENS, claims='{"iss": "https://issuer.example", "sub": "jane"}')

    assert (without.verdict, with_token.verdict, believed.verdict) == (
        TrafficVerdict.DENIED,
        TrafficVerdict.UNKNOWN,
        TrafficVerdict.ALLOWED,
    )


def test_what_nobody_of_the_mesh_serves_is_sent() -> None:
    found = explained("tcp", "198.51.100.7:443", server_name="example.com")

    assert found.verdict is TrafficVerdict.SENT
    assert found.ways[0].other_sides[0].unknown.startswith("no proxy is known at 198.51.100.7")


def test_a_resource_is_of_the_objects_that_made_it() -> None:
    mesh = written(SHOP)
    session = mesh.session_named("client.default")

    found = resource_origins(mesh.sight, session, "virtualhost", "80/web.shop.svc.cluster.local:80")

    assert found["origins"] == [{"object": "VirtualService/shop/web", "field": "spec.http", "file": "standard input", "line": 47}]
    with pytest.raises(BadQuestion, match="the proxy has no clusters 'nobody'; it has BlackHoleCluster"):
        resource_origins(mesh.sight, session, "clusters", "nobody")


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (QuestionTexts(method="GET", target="ftp://web"), "expected a URL as http://web.shop:8080/path, found 'ftp://web'"),
        (QuestionTexts(method="G T", target="http://web"), "expected a method, as GET, found 'G T'"),
        (QuestionTexts(method="GET", target="http://web", headers="x"), "expected a header as 'NAME: VALUE', found 'x'"),
        (QuestionTexts(method="GET", target="http://web", claims="[]"), "expected the claims of a token as a JSON object"),
        (QuestionTexts(method="tcp", target="web"), "expected HOST:PORT, found 'web'"),
        (QuestionTexts(method="tcp", target="web:80", source_ip="x"), "expected an IP address to come from, found 'x'"),
    ],
)
def test_what_is_no_question_is_told(texts: QuestionTexts, said: str) -> None:
    with pytest.raises(BadQuestion) as raised:
        texts.question()

    assert str(raised.value) == said


def test_a_pod_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(UnknownProxy, match=r"no pod 'cleint' is in these manifests: there is client\.default, web-1\.shop, web-2\.shop"):
        written(SHOP).session_named("cleint")
