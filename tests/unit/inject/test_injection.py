"""What injection does to pods: the rest of it stays, twice is once, and nothing that a user writes becomes more than it is."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.inject import annotations as say
from controlplane.inject.inject import Injected, InjectionContext, InjectionRefused, NotInjected, inject
from controlplane.inject.json_patch import json_patch
from controlplane.inject.label_selector import BadSelector, label_selector
from controlplane.inject.pod import candidate_pod
from controlplane.inject.policy import PodNamespace, reason_not_to_inject
from controlplane.model.proxies import IGNORED_NAMESPACES, PROXY_CONTAINER
from controlplane.untyped import Json, items, section
from controlplane.webhooks.mutate import mutate
from controlplane.webhooks.validate import BadAdmissionReview
from tests.support.injection import MESH, SETTINGS, WANTED, applied

EVIL = (
    'x"\n  - name: evil\n    image: evil',
    "x\r\nprivileged: true",
    "\x00",
    "a\u2028b",
    '"}],"hostNetwork":true,"x":[{"',
    "$(POD_NAME)",
    "`id`",
    "; rm -rf /",
    "{{ .Values }}",
    "x" * 100_000,
)


def a_pod(*, annotations: dict[str, str] | None = None, labels: dict[str, str] | None = None, **spec: object) -> Json:
    metadata: Json = {"name": "web", "labels": {"app": "web", **(labels or {})}, "annotations": {"kept": "as it is", **(annotations or {})}}
    container = {"name": "web", "image": "web:1", "ports": [{"name": "http", "containerPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}


def injected(data: Json, mesh: InjectionContext = MESH, namespace: PodNamespace = WANTED) -> Injected:
    before = copy.deepcopy(data)
    found = inject(data, namespace, mesh)
    assert isinstance(found, Injected), found
    assert data == before, "what is given is not changed"
    return found


def containers(data: object) -> Iterator[Json]:
    assert isinstance(data, dict)
    spec = section(data, "spec")
    yield from (*items(spec, "initContainers"), *items(spec, "containers"))


names = st.sampled_from(["a", "b", "c", "d/e", "f~g"])
leaves = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "x", "y"])
named_lists = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("abcdef"), "v": leaves}), max_size=5, unique_by=lambda each: each["name"]
)
documents = st.recursive(
    leaves | named_lists, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)
objects = st.dictionaries(names, documents, max_size=5)


@given(objects, objects)
def test_the_patch_of_two_documents_makes_the_second_of_the_first(old: Json, new: Json) -> None:
    made = applied(json_patch(old, new), old)

    assert json.dumps(made, sort_keys=True) == json.dumps(new, sort_keys=True)
    assert json_patch(new, new) == ()


keys = st.sampled_from(
    ["uid", "operation", "kind", "object", "namespace", "metadata", "spec", "containers", "initContainers", "volumes", "name", "labels"]
)


def test_everything_that_is_not_injected_stays_as_it_was() -> None:
    before = a_pod(volumes=[{"name": "v", "emptyDir": {}}], initContainers=[{"name": "i", "image": "i"}], odd={"field": [1, 2.0, None]})

    found = injected(before)

    assert applied(found.patch, before) == found.pod
    kept = {str(each["path"]).rsplit("/", 1)[0] for each in found.patch}
    assert kept <= {"/metadata/labels", "/metadata/annotations", "/spec/initContainers", "/spec/volumes"}
    assert {str(each["op"]) for each in found.patch} == {"add"}


def test_injecting_twice_is_injecting_once() -> None:
    once = injected(a_pod())

    assert inject(once.pod, WANTED, MESH) == NotInjected("it has one already")


@pytest.mark.parametrize(
    "name", [*sorted(each.name for each in (*say.INJECTION_ANNOTATIONS, *say.PROMETHEUS_ANNOTATIONS)), "sidecar.istio.io/none-of-ours", "x"]
)
@pytest.mark.parametrize("evil", EVIL)
def test_t42_an_annotation_is_never_more_than_its_value(name: str, evil: str) -> None:
    plain = injected(a_pod())

    found = inject(a_pod(annotations={name: evil}), WANTED, MESH)

    if isinstance(found, InjectionRefused):
        assert all(name in each for each in found.problems)
        return
    assert isinstance(found, Injected)
    before, after = [{each["name"]: each for each in containers(one.pod)} for one in (plain, found)]
    assert after.keys() == before.keys()
    assert [each.get("securityContext") for each in after.values()] == [each.get("securityContext") for each in before.values()]
    assert section(found.pod, "spec").keys() == section(plain.pod, "spec").keys()
    assert [each["name"] for each in items(section(found.pod, "spec"), "volumes")] == [
        each["name"] for each in items(section(plain.pod, "spec"), "volumes")
    ]


def test_what_the_kubelet_puts_in_is_only_what_we_ask_for() -> None:
    probe = {"httpGet": {"path": "/$(POD_NAME)?q=$$(X)", "port": "http"}}
    before = a_pod(labels={"app": "web"})
    section(before, "spec")["containers"] = [
        {"name": "web", "image": "x", "ports": [{"name": "http", "containerPort": 1}], "readinessProbe": probe}
    ]

    [proxy] = [each for each in containers(injected(before).pod) if each["name"] == PROXY_CONTAINER]

    told = proxy["args"]
    assert isinstance(told, list)
    assert "/$$(POD_NAME)?q=$$$$(X)" in told[1]
    json.loads(told[1])


@pytest.mark.parametrize("name", sorted(IGNORED_NAMESPACES))
def test_t65_nothing_is_injected_where_the_cluster_and_we_live(name: str) -> None:
    found = candidate_pod(a_pod(labels={"sidecar.istio.io/inject": "true"}), name)

    assert reason_not_to_inject(found, PodNamespace(name, {"istio-injection": "enabled"}), SETTINGS) == f"nothing is injected in {name}"


@given(st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)))
def test_a_pod_of_any_shape_is_injected_or_refused_with_words(spec: object) -> None:
    shapes: tuple[Json, ...] = ({"spec": spec}, {"metadata": spec, "spec": {"containers": [{"name": "a"}]}}, {"spec": {"containers": spec}})
    for data in shapes:
        found = inject(data, WANTED, MESH)

        assert isinstance(found, Injected | InjectionRefused)


def answer(body: bytes) -> str:
    """Return in a word what becomes of a review."""
    try:
        return mutate(body, "/inject/namespace", MESH).outcome
    except BadAdmissionReview as error:
        return str(error).partition(" ")[0]


@given(st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4)))
def test_t63_a_review_of_any_shape_gets_an_answer_or_words(request: object) -> None:
    for asked in (request, {"uid": "u", "operation": "CREATE", "kind": {"group": "", "kind": "Pod"}, "object": request}):
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}).encode()

        assert answer(body) in {"allowed", "injected", "refused", "expected"}


@pytest.mark.parametrize(
    ("text", "labels", "selected"),
    [
        ("app=web", {"app": "web"}, True),
        ("app==web,tier!=db", {"app": "web"}, True),
        ("tier in (a, b)", {"tier": "b"}, True),
        ("tier notin (a,b)", {"tier": "b"}, False),
        ("!canary", {"app": "web"}, True),
        ("batch.kubernetes.io/job-name", {"app": "web"}, False),
    ],
)
def test_selectors_are_read_as_kubectl_reads_them(text: str, labels: dict[str, str], *, selected: bool) -> None:
    assert label_selector(text).matches(labels) is selected


@pytest.mark.parametrize("text", ["", " ", "a b", "=x", "a in b", "a=b=c", "!a=b", "-a", "a=-", "a," * 2000])
def test_a_selector_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadSelector):
        label_selector(text)


def test_a_gateway_is_a_router_that_nothing_is_redirected_to_and_all_of_it_drains() -> None:
    own = {"name": PROXY_CONTAINER, "image": "auto", "ports": [{"name": "http", "containerPort": 8080}]}
    data = a_pod(annotations={say.TEMPLATES.name: "gateway", say.NATIVE_SIDECAR.name: "true"})
    data["spec"] = {"containers": [own]}

    made = injected(data).pod

    [proxy] = items(section(made, "spec"), "containers")
    assert "initContainers" not in section(made, "spec")
    told = json.loads(str(proxy["args"][1])) if isinstance(proxy["args"], list) else {}
    assert told["node"]["id"].startswith("router~$(INSTANCE_IP)~")
    assert "skip_exit&inboundonly" not in json.dumps(told)
    assert "drain_listeners?graceful&skip_exit" in json.dumps(told)
    assert section(proxy, "securityContext")["runAsNonRoot"] is True
    assert [each["containerPort"] for each in items(proxy, "ports")] == [15090, 8080]


def test_a_pod_of_a_deployment_config_is_called_by_it() -> None:
    pod = a_pod(labels={"deploymentconfig": "cart"})
    owner = {"kind": "ReplicationController", "name": "cart-7", "controller": True}
    pod = {**pod, "metadata": {**section(pod, "metadata"), "ownerReferences": [owner]}}

    assert candidate_pod(pod, "shop").workload == "cart"


def test_what_another_webhook_makes_of_an_injected_pod_is_intercepted_as_if_it_had_been_so_before() -> None:
    pod = copy.deepcopy(injected(a_pod()).pod)
    proxy = next(container for container in containers(pod) if container["name"] == PROXY_CONTAINER)
    proxy["securityContext"] = {**section(proxy, "securityContext"), "runAsUser": 4711, "runAsGroup": 4712}
    section(section(pod, "metadata"), "annotations")[say.EXCLUDE_OUTBOUND_PORTS.name] = "5432"

    again = injected(pod)

    [redirect] = [container for container in containers(again.pod) if container["name"] == "istio-init"]
    args = redirect["args"]
    assert isinstance(args, list)
    assert [args[args.index(letter) + 1] for letter in ("-u", "-g", "-o")] == ["4711", "4712", "5432"]
    assert applied(again.patch, pod) == again.pod
    assert isinstance(inject(again.pod, WANTED, MESH), NotInjected)
