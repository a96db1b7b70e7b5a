"""One document to one object, or to Problems: kinds, versions, defaults, what is unknown, what is odd."""

from __future__ import annotations

import pytest

from controlplane.model.keys import VIRTUAL_SERVICE, Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.kubernetes.core import EndpointSlice, KubernetesService, Namespace, Pod
from controlplane.objects.networking.virtual_service import VirtualService
from controlplane.objects.parse import ParsedObject, parse, readable_kinds

Json = dict[str, object]
ROUTE: Json = {"route": [{"destination": {"host": "b"}}]}


def document(kind: str, spec: object = None, *, api: str = "networking.istio.io/v1", **more: object) -> Json:
    found: Json = {"apiVersion": api, "kind": kind, "metadata": {"name": "x"}, **more}
    return found if spec is None else {**found, "spec": spec}


def virtual_service(**spec: object) -> ParsedObject:
    return parse(document("VirtualService", {"hosts": ["a"], "http": [ROUTE], **spec}))


def said(parsed: ParsedObject) -> list[tuple[Severity, str, str]]:
    return [(each.severity, each.field, each.code) for each in parsed.problems]


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha3"])
def test_every_served_version_gives_the_same_object(version: str) -> None:
    spec = {"hosts": ["a"], "http": [ROUTE]}

    parsed = parse(document("VirtualService", spec, api=f"networking.istio.io/{version}"))

    assert parsed == virtual_service()
    assert isinstance(parsed.object, VirtualService)
    assert parsed.problems == ()


def test_a_version_that_was_never_served_is_an_error() -> None:
    parsed = parse(document("VirtualService", {}, api="networking.istio.io/v2"))

    assert parsed.object is None
    assert said(parsed) == [(Severity.ERROR, "apiVersion", "UnknownVersion")]


def test_an_object_without_a_namespace_is_in_default_and_a_namespace_in_none() -> None:
    assert virtual_service().key == VIRTUAL_SERVICE.key("default", "x")
    assert parse(document("Namespace", api="v1")).key == Key("Namespace", "", "x")
    assert isinstance(parse(document("Namespace", api="v1")).object, Namespace)


@pytest.mark.parametrize(
    ("api", "kind", "severity", "code", "words"),
    [
        ("security.istio.io/v1", "AdmissionPolicy", Severity.ERROR, "UnknownKind", "NO POLICY"),
        ("networking.istio.io/v1", "Waypoint", Severity.WARNING, "KindNotTranslated", "no effect"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute", Severity.WARNING, "KindNotTranslated", "no effect"),
        ("install.istio.io/v1alpha1", "IstioOperator", Severity.WARNING, "KindNotTranslated", "no effect"),
        ("policy.example.com/v1", "AuthorizationPolicy", Severity.INFO, "KindIgnored", "passed over"),
        ("apps/v1", "Deployment", Severity.INFO, "KindIgnored", "passed over"),
    ],
)
def test_other_kinds_are_named_and_have_no_object(api: str, kind: str, severity: Severity, code: str, words: str) -> None:
    parsed = parse(document(kind, api=api))

    [problem] = parsed.problems
    assert parsed.object is None
    assert (problem.severity, problem.code) == (severity, code)
    assert words in problem.message


@pytest.mark.parametrize(
    "data", [{}, {"kind": "Service"}, {"apiVersion": "v1"}, {"apiVersion": 1, "kind": []}, {"apiVersion": "", "kind": "A"}]
)
def test_what_is_no_kubernetes_object_is_an_error(data: Json) -> None:
    parsed = parse(data)

    assert (parsed.key, parsed.object) == (None, None)
    assert said(parsed) == [(Severity.ERROR, "", "NotAnObject")]


def test_unknown_fields_and_fields_without_effect_are_warnings_with_their_paths() -> None:
    tls = [{"match": [{"sniHosts": ["a"], "port": 443, "alpn": "h2"}], "route": [{"destination": {"host": "b"}}]}]

    parsed = virtual_service(http=[{**ROUTE, "retry": {}, "match": [{"headers": {"x": {"exakt": "1"}}}]}], tls=tls)

    assert parsed.object is not None
    assert said(parsed) == [
        (Severity.WARNING, "spec.http[0].retry", "UnknownField"),
        (Severity.WARNING, "spec.http[0].match[0].headers.x.exakt", "UnknownField"),
        (Severity.WARNING, "spec.tls[0].match[0].alpn", "UnknownField"),
    ]


def test_what_is_valid_and_not_translated_is_never_passed_over_in_silence() -> None:
    elsewhere = parse(document("WorkloadEntry", {"network": "n"}))
    dynamic = parse(document("ServiceEntry", {"hosts": ["*.a.b"], "resolution": "DYNAMIC_DNS"}))

    for parsed, *fields in ((elsewhere, "spec.address", "spec.network"), (dynamic, "spec.resolution")):
        assert parsed.object is not None
        assert said(parsed) == [(Severity.WARNING, field, "NotTranslated") for field in fields]


@pytest.mark.parametrize(
    ("spec", "field", "code", "words"),
    [
        ({"hosts": "a"}, "spec.hosts", "WrongType", "expected a list, found 'a'"),
        ({"http": [{**ROUTE, "timeout": 5}]}, "spec.http[0].timeout", "WrongType", "found 5"),
        ({"http": [{**ROUTE, "timeout": "0s"}]}, "spec.http[0].timeout", "OutOfRange", "at least 1ms"),
        ({"http": [{**ROUTE, "match": [{"port": "80"}]}]}, "spec.http[0].match[0].port", "WrongType", "expected an integer, found '80'"),
        ({"http": [{"route": [{}]}]}, "spec.http[0].route[0].destination", "Required", "required"),
        ({"http": [{**ROUTE, "match": [{"port": 2**32}]}]}, "spec.http[0].match[0].port", "OutOfRange", "at most 4294967295"),
        ({"http": [{**ROUTE, "match": [{"ignoreUriCase": "yes"}]}]}, "spec.http[0].match[0].ignoreUriCase", "WrongType", "true or false"),
        (
            {"http": [{**ROUTE, "match": [{"uri": {"prefix": "/"}, "headers": {"a": None}}]}]},
            "spec.http[0].match[0].headers.a",
            "WrongType",
            "null",
        ),
        ({"http": [None]}, "spec.http[0]", "WrongType", "expected an object, found null"),
        ({"http": [{**ROUTE, "name": "a\0b"}]}, "spec.http[0].name", "Unreadable", "NUL"),
        ({"http": [{**ROUTE, "name": "\ud800"}]}, "spec.http[0].name", "Unreadable", "surrogate"),
        ({"http": [{**ROUTE, "mirrorPercent": 2**63}]}, "spec.http[0].mirrorPercent", "Unreadable", "64 bits"),
        ({"http": [{**ROUTE, "mirrorPercentage": {"value": float("nan")}}]}, "spec.http[0].mirrorPercentage.value", "Unreadable", "finite"),
    ],
)
def test_what_is_wrong_is_said_with_path_expectation_and_value(spec: Json, field: str, code: str, words: str) -> None:
    parsed = virtual_service(**spec)

    assert parsed.object is None
    [problem] = [each for each in parsed.problems if each.severity is Severity.ERROR]
    assert (problem.object, problem.field, problem.code) == (VIRTUAL_SERVICE.key("default", "x"), field, code)
    assert words in problem.message


def test_depth_is_bounded() -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]

    parsed = parse(document("Service", {"ports": deep}, api="v1"))

    assert said(parsed)[0][2] == "Unreadable"


def test_problems_are_fit_for_a_terminal() -> None:
    evil = "\x1b[31m" + "x" * 500

    parsed = parse({**document("VirtualService", {"hosts": [evil], evil: 1, "http": [ROUTE]}), "metadata": {"name": evil}})

    problems: tuple[Problem, ...] = parsed.problems
    assert len(problems) == 3
    for each in problems:
        assert str(each.object).isprintable()
        assert each.field.isprintable()
        assert each.message.isprintable()
        assert len(each.message) < 900


def test_names_labels_and_namespaces_are_checked() -> None:
    metadata = {"name": "Upper", "namespace": "a.b", "labels": {"app": "ok", "-bad": "x", "long": "y" * 64}}

    parsed = parse({"apiVersion": "v1", "kind": "Service", "metadata": metadata})

    assert parsed.object is None
    assert [each.field for each in parsed.problems] == [
        "metadata.name",
        "metadata.namespace",
        "metadata.labels.-bad",
        "metadata.labels.long",
    ]


def test_a_name_that_is_too_long_is_an_error_though_it_is_clipped_where_it_is_shown() -> None:
    parsed = parse({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a" * 300}})

    assert parsed.object is None
    assert said(parsed) == [(Severity.ERROR, "metadata.name", "OutOfRange")]
    assert parsed.key is not None
    assert len(parsed.key.name) == 253


def test_a_namespace_of_a_wrong_type_is_not_taken_for_default() -> None:
    parsed = parse({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": 7}})

    assert said(parsed) == [(Severity.ERROR, "metadata.namespace", "WrongType")]


def test_core_objects_have_the_fields_that_matter_and_others_are_passed_over() -> None:
    ports = [{"port": 80, "targetPort": "http", "nodePort": 30000, "name": "a"}, {"port": 81, "targetPort": 8080, "name": "b"}]

    service = parse(document("Service", {"ports": ports, "clusterIP": "10.0.0.1", "ipFamilyPolicy": "SingleStack"}, api="v1"))
    pod = parse(
        document(
            "Pod", {"containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 1}]}]}, api="v1", status={"podIP": "1.1.1.1"}
        )
    )

    assert isinstance(service.object, KubernetesService)
    assert [each.target_port for each in service.object.spec.ports] == ["http", 8080]
    assert isinstance(pod.object, Pod)
    assert pod.object.ips == ("1.1.1.1",)
    assert (service.problems, pod.problems) == ((), ())


@pytest.mark.parametrize("target", [0, 65536, True, 1.5, [80]])
def test_a_target_port_is_a_port_or_a_name(target: object) -> None:
    parsed = parse(document("Service", {"ports": [{"port": 80, "targetPort": target}]}, api="v1"))

    assert said(parsed) == [(Severity.ERROR, "spec.ports[0].targetPort", "OutOfRange")]


def test_an_endpoint_slice_in_either_version() -> None:
    body: Json = {
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 80}],
        "endpoints": [{"addresses": ["1.1.1.1"], "conditions": {}}],
    }

    found = [parse({**document("EndpointSlice", api=f"discovery.k8s.io/{version}"), **body}).object for version in ("v1", "v1beta1")]

    assert isinstance(found[0], EndpointSlice)
    assert found[0] == found[1]
    assert found[0].endpoints[0].ready


def test_equal_objects_are_equal_and_hash_alike_and_annotations_of_others_do_not_count() -> None:
    annotated = document("Service", {"ports": [{"port": 80}], "selector": {"a": "b"}}, api="v1")
    ours = {**annotated, "metadata": {"name": "x", "annotations": {"networking.istio.io/exportTo": "."}}}
    annotated["metadata"] = {"name": "x", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}

    plain = parse(document("Service", {"ports": [{"port": 80}], "selector": {"a": "b"}}, api="v1")).object

    assert parse(annotated).object == plain
    assert hash(parse(annotated).object) == hash(plain)
    assert parse(ours).object != plain


def test_the_kinds_that_are_read_are_listed() -> None:
    found = {(group, kind): versions for group, kind, versions in readable_kinds()}

    assert found["networking.istio.io", "Sidecar"] == ("v1", "v1beta1", "v1alpha3")
    assert ("", "ConfigMap") in found
