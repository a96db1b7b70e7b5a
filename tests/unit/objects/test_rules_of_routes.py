"""What a VirtualService must keep to, rule by rule: the fields that an error names, or none."""

from __future__ import annotations

import pytest

from controlplane.model.problems import Severity
from controlplane.objects.parse import parse

Json = dict[str, object]
TO: Json = {"destination": {"host": "b"}}
ROUTE: Json = {"route": [TO]}


def errors(**spec: object) -> list[str]:
    whole = {"hosts": ["a"], "http": [ROUTE], **spec}
    data = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "x", "namespace": "ns"},
        "spec": {name: value for name, value in whole.items() if value is not None},
    }
    return [each.field.removeprefix("spec.") for each in parse(data).problems if each.severity is Severity.ERROR]


def of_route(**route: object) -> list[str]:
    return [each.removeprefix("http[0].") for each in errors(http=[{**ROUTE, **route}])]


@pytest.mark.parametrize("host", ["a", "a.b", "*.b.c", "*-a.b", "A.b", "a.b.", "10.1.1.1", "::1", "a" * 63])
def test_hosts(host: str) -> None:
    assert errors(hosts=[host]) == []


@pytest.mark.parametrize("host", ["", "a_b.c", "a..b", "-a", "a.*", "a.b.9", "a" * 64, ".".join(["a" * 60] * 5), "a/b", "a:80", "a b"])
def test_hosts_that_are_none(host: str) -> None:
    assert errors(hosts=[host]) == ["hosts[0]"]


def test_a_star_alone_is_for_gateways() -> None:
    assert errors(hosts=["*"]) == ["hosts[0]"]
    assert errors(hosts=["*"], gateways=["gw", "mesh"]) == ["hosts[0]"]
    assert errors(hosts=["*"], gateways=["gw"]) == []


def test_hosts_do_not_overlap() -> None:
    assert errors(hosts=["a.b", "*.b"]) == ["hosts[1]"]
    assert errors(hosts=["a.b", "*.c", "a.b"]) == ["hosts[2]"]


@pytest.mark.parametrize("name", ["mesh", "gw.ns.svc", "ns/gw"])
def test_gateways(name: str) -> None:
    assert errors(gateways=[name]) == []


@pytest.mark.parametrize("name", ["", "/gw", "ns/", "a/b/c", "*/gw"])
def test_gateways_that_are_none(name: str) -> None:
    assert errors(gateways=[name]) == ["gateways[0]"]
    assert of_route(match=[{"uri": {"prefix": "/"}, "gateways": [name]}]) == ["match[0].gateways[0]"]


def test_a_delegate_has_http_routes_alone() -> None:
    tcp = [{"route": [TO]}]

    assert errors(hosts=None) == []
    assert errors(hosts=None, gateways=["mesh"], tcp=tcp) == ["gateways", "tcp"]
    assert errors(hosts=None, http=[{"delegate": {"name": "d"}}]) == ["http[0].delegate"]


def test_a_route_has_one_kind_of_answer() -> None:
    redirect, fixed = {"uri": "/"}, {"status": 200}

    assert errors(http=[{}]) == ["http[0]"]
    assert of_route(redirect=redirect) == ["http[0]"]
    assert errors(http=[{"redirect": redirect, "directResponse": fixed}]) == ["http[0]"]
    assert errors(http=[{"redirect": redirect, "rewrite": {"uri": "/"}}]) == ["http[0].rewrite"]
    assert errors(http=[{"redirect": redirect, "fault": {"abort": {"httpStatus": 500}}}]) == ["http[0].fault"]
    assert errors(http=[{"delegate": {"name": "d"}, "match": [{"uri": {"regex": "a"}}]}]) == []
    assert errors(http=[{**ROUTE, "delegate": {"name": "d"}}]) == ["http[0]"]
    assert errors(http=[{"directResponse": {"status": 199}}]) == ["http[0].directResponse.status"]
    assert errors(http=[{"directResponse": {"status": 200, "body": {"string": "x" * (1 << 20) + "x"}}}]) == ["http[0].directResponse.body"]
    assert errors(http=[{"directResponse": {"status": 200, "body": {"string": "x", "bytes": "eA=="}}}]) == ["http[0].directResponse.body"]


def test_weights() -> None:
    def weighted(*weights: int) -> list[str]:
        return of_route(route=[{**TO, "weight": each} for each in weights])

    assert weighted(0) == []
    assert weighted(1, 0) == []
    assert weighted(0, 0) == ["route"]
    assert weighted(-1, 2) == ["route[0].weight"]
    assert weighted(2**31 - 1, 2**31 - 1) == []
    assert weighted(2**31 - 1, 2**31 - 1, 2**31 - 1) == ["route"]


@pytest.mark.parametrize(
    ("destination", "field"),
    [
        ({"host": "*"}, "host"),
        ({"host": ""}, "host"),
        ({"host": "a_b"}, "host"),
        ({"host": "a", "subset": "v_1"}, "subset"),
        ({"host": "a", "subset": "v|1"}, "subset"),
        ({"host": "a", "port": {"number": 0}}, "port.number"),
        ({"host": "a", "port": {"number": 65536}}, "port.number"),
    ],
)
def test_destinations(destination: Json, field: str) -> None:
    assert f"route[0].destination.{field}" in of_route(route=[{"destination": destination}])
    assert f"mirror.{field}" in of_route(mirror=destination)
    assert f"mirrors[0].destination.{field}" in of_route(mirrors=[{"destination": destination}])


@pytest.mark.parametrize(
    ("match", "field"),
    [
        ({"uri": {}}, "uri"),
        ({"authority": {"prefix": ""}}, "authority.prefix"),
        ({"uri": {"regex": ""}}, "uri.regex"),
        ({"uri": {"regex": "("}}, "uri.regex"),
        ({"uri": {"regex": "(?=a)"}}, "uri.regex"),
        ({"uri": {"regex": "a" * 1025}}, "uri.regex"),
        ({"uri": {"exact": "/", "prefix": "/"}}, "uri"),
        ({"method": {"regex": "*"}}, "method.regex"),
        ({"headers": {"": {"exact": "a"}}}, "headers"),
        ({"headers": {"a b": {"exact": "a"}}}, "headers"),
        ({"withoutHeaders": {"x": {"prefix": ""}}}, "withoutHeaders.x.prefix"),
        ({"headers": {"@request.auth.claims.sub": {"exact": "a"}}}, "headers.@request.auth.claims.sub"),
        ({"headers": {"@request.auth.claims": {"exact": "a"}}}, "headers"),
        ({"headers": {"@request.auth.claims.a..b": {"exact": "a"}}}, "headers"),
        ({"withoutHeaders": {"@request.auth.claims[a]b": {"exact": "a"}}}, "withoutHeaders"),
        ({"headers": {"@request.auth.claimsx": {"exact": "a"}}}, "headers"),
        ({"queryParams": {"q": {"regex": "["}}}, "queryParams.q.regex"),
        ({"port": 70000}, "port"),
        ({"sourceLabels": {"a b": "c"}}, "sourceLabels.a b"),
        ({"sourceNamespace": "a.b"}, "sourceNamespace"),
    ],
)
def test_conditions(match: Json, field: str) -> None:
    assert of_route(match=[match]) == [f"match[0].{field}"]


def test_a_header_may_only_have_to_be_there_and_claims_are_for_gateways() -> None:
    assert of_route(match=[{"headers": {"x": {}}, "queryParams": {"q": {}}}]) == []
    assert errors(gateways=["gw"], http=[{**ROUTE, "match": [{"headers": {"@request.auth.claims.sub": {"exact": "a"}}}]}]) == []


@pytest.mark.parametrize(
    ("retries", "field"),
    [
        ({"attempts": -1}, "attempts"),
        ({"attempts": 0, "retryOn": "5xx"}, "attempts"),
        ({"attempts": 1, "perTryTimeout": "0ms"}, "perTryTimeout"),
        ({"attempts": 1, "retryOn": "5xx,never"}, "retryOn"),
        ({"attempts": 1, "retryOn": "99"}, "retryOn"),
        ({"attempts": 1, "retryOn": "306,499"}, "retryOn"),
    ],
)
def test_retries(retries: Json, field: str) -> None:
    assert of_route(retries={"attempts": 2, "retryOn": "5xx, 503,reset"}) == []
    assert of_route(retries=retries)[0] == f"retries.{field}"


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        ({}, ""),
        ({"delay": {}}, ".delay.fixedDelay"),
        ({"delay": {"fixedDelay": "1s", "percentage": {"value": 100.1}}}, ".delay.percentage.value"),
        ({"delay": {"fixedDelay": "1s", "percent": 101}}, ".delay.percent"),
        ({"delay": {"exponentialDelay": "1s"}}, ".delay.exponentialDelay"),
        ({"delay": {"fixedDelay": "1ns"}}, ".delay.fixedDelay"),
        ({"abort": {}}, ".abort"),
        ({"abort": {"httpStatus": 600}}, ".abort.httpStatus"),
        ({"abort": {"grpcStatus": "14"}}, ".abort.grpcStatus"),
        ({"abort": {"httpStatus": 500, "grpcStatus": "OK"}}, ".abort"),
        ({"abort": {"http2Error": "REFUSED_STREAM"}}, ".abort.http2Error"),
    ],
)
def test_faults(fault: Json, field: str) -> None:
    assert of_route(fault=fault) == [f"fault{field}"]


def test_mirrors() -> None:
    assert of_route(mirror={"host": "m"}, mirrorPercentage={"value": 100}) == []
    assert of_route(mirror={"host": "m"}, mirrorPercentage={"value": 101}) == ["mirrorPercentage.value"]
    assert of_route(mirror={"host": "m"}, mirrors=[{"destination": {"host": "m"}}]) == ["mirrors"]
    assert of_route(mirrors=[{"destination": {"host": "m"}, "percentage": {"value": -0.1}}]) == ["mirrors[0].percentage.value"]


def test_rewrites_and_the_authority() -> None:
    regex = {"match": "a", "rewrite": "b"}

    assert of_route(rewrite={}) == ["rewrite"]
    assert of_route(rewrite={"uri": "/\r\nset-cookie: a=b"}) == ["rewrite.uri"]
    assert of_route(rewrite={"uriRegexRewrite": {"match": "a", "rewrite": "b\n"}}) == ["rewrite.uriRegexRewrite.rewrite"]
    assert of_route(rewrite={"uri": "/", "uriRegexRewrite": regex}) == ["rewrite"]
    assert of_route(rewrite={"uriRegexRewrite": {"match": "a"}}) == ["rewrite.uriRegexRewrite"]
    assert of_route(rewrite={"uriRegexRewrite": {"match": "(", "rewrite": "b"}}) == ["rewrite.uriRegexRewrite.match"]
    assert of_route(rewrite={"authority": "x"}, headers={"request": {"set": {"Host": "y"}}}) == ["http[0]"]
    assert of_route(headers={"request": {"set": {":authority": "x"}, "add": {"host": "y"}}}) == ["http[0]"]


@pytest.mark.parametrize(
    ("redirect", "field"),
    [
        ({}, ""),
        ({"uri": "/", "redirectCode": 299}, ".redirectCode"),
        ({"authority": "a\n"}, ".authority"),
        ({"uri": "/", "redirectCode": 400}, ".redirectCode"),
        ({"uri": "/", "prefixRewrite": "/"}, ""),
        ({"scheme": "ftp"}, ".scheme"),
        ({"port": 80, "derivePort": "FROM_REQUEST_PORT"}, ""),
        ({"uri": "/", "port": 0}, ".port"),
        ({"derivePort": "FROM_NOWHERE"}, ".derivePort"),
    ],
)
def test_redirects(redirect: Json, field: str) -> None:
    assert errors(http=[{"redirect": redirect}]) == [f"http[0].redirect{field}"]


@pytest.mark.parametrize(
    ("operations", "field"),
    [
        ({"request": {"set": {":path": "x"}}}, "request.set"),
        ({"request": {"add": {"": "x"}}}, "request.add"),
        ({"request": {"remove": ["Host"]}}, "request.remove[0]"),
        ({"request": {"set": {"x": "100%"}}}, "request.set.x"),
        ({"request": {"set": {"x": "a\nb"}}}, "request.set.x"),
        ({"response": {"set": {"host": "x"}}}, "response.set"),
        ({"response": {"remove": [":status"]}}, "response.remove[0]"),
    ],
)
def test_headers(operations: Json, field: str) -> None:
    assert of_route(headers=operations) == [f"headers.{field}"]
    assert of_route(route=[{**TO, "headers": operations}]) == [f"route[0].headers.{field}"]


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ({"allowOrigins": [{}]}, "allowOrigins[0]"),
        ({"allowOrigins": [{"exact": ""}]}, "allowOrigins[0].exact"),
        ({"allowOrigins": [{"regex": "("}]}, "allowOrigins[0].regex"),
        ({"allowMethods": ["get"]}, "allowMethods[0]"),
        ({"allowHeaders": ["a b"]}, "allowHeaders[0]"),
        ({"exposeHeaders": [""]}, "exposeHeaders[0]"),
        ({"maxAge": "1500ms"}, "maxAge"),
        ({"unmatchedPreflights": "DROP"}, "unmatchedPreflights"),
    ],
)
def test_cors(policy: Json, field: str) -> None:
    assert of_route(corsPolicy=policy) == [f"corsPolicy.{field}"]


def test_connections() -> None:
    def tls(**match: object) -> list[str]:
        return [each.removeprefix("tls[0].") for each in errors(hosts=["*.b.c"], tls=[{"match": [match], "route": [TO]}])]

    assert tls(sniHosts=["a.b.c"]) == []
    assert tls(sniHosts=["a.x.c"]) == ["match[0].sniHosts[0]"]
    assert tls(sniHosts=[]) == ["match[0].sniHosts"]
    assert tls(sniHosts=["1.1.1.1"]) == []
    assert tls(sniHosts=["a.b.c"], destinationSubnets=["10.0.0.0/33"]) == ["match[0].destinationSubnets[0]"]
    assert tls(sniHosts=["a.b.c"], port=65536, sourceNamespace="a/b") == ["match[0].port", "match[0].sourceNamespace"]
    assert errors(tcp=[{"match": [{"port": 1}]}]) == ["tcp[0].route"]
    odd = {"sourceLabels": {"a": "b c"}, "gateways": ["/gw"]}
    assert errors(tcp=[{"match": [odd], "route": [TO]}]) == ["tcp[0].match[0].sourceLabels.a", "tcp[0].match[0].gateways[0]"]
    assert errors(tls=[{"match": [], "route": [TO]}]) == ["tls[0].match"]


@pytest.mark.parametrize(
    ("names", "fields"),
    [
        (["*"], []),
        ([".", "b"], []),
        (["*", "b"], ["exportTo"]),
        ([".", "ns"], ["exportTo[1]"]),
        (["~"], ["exportTo[0]"]),
        (["a.b"], ["exportTo[0]"]),
    ],
)
def test_exports(names: list[str], fields: list[str]) -> None:
    assert errors(exportTo=names) == fields


def test_a_specification_without_routes_is_an_error() -> None:
    assert errors(http=None) == ["spec"]
