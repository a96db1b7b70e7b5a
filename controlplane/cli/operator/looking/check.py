"""``navarch check``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypedDict

import typer

from controlplane.cli.operator.connection import AdminTarget, asks_admin
from controlplane.cli.operator.failures import WANTING, CommandFailed
from controlplane.cli.operator.output import Form, Listing, OutputOption, show
from controlplane.untyped import Json, instant, items, section, text

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from kubernetes.client.rest import RESTResponse

_SKEW_S = 5.0  # by which clocks may differ
_EXPIRES_S = 3600.0  # for which certificates and roots have to be good
_WEBHOOKS = "/apis/admissionregistration.k8s.io/v1"
_RIGHTS = (("", "pods", "list"), ("", "pods/portforward", "create"), ("networking.istio.io", "virtualservices", "list"))


class CheckRow(TypedDict):
    """One check; ``cure`` is the command that makes it well, or says more."""

    check: str
    passed: bool
    found: str
    cure: str


@asks_admin
def check(target: AdminTarget, output: OutputOption = Form.TABLE) -> None:
    """Check that a control plane is well: that it answers, has read everything, its proxies, certificates and clock.

    In a cluster (--kubeconfig, --context) also its API server, CustomResourceDefinitions, rights, namespace and webhooks.
    Exits 1 if something is not as it should be; each such line has the command that cures it, or says more.

    For example:

      navarch check

      navarch check --context production
    """
    rows = [*(_of_cluster(target) if target.in_cluster else ()), *_of_control_planes(target)]
    listing = Listing(
        head=("", "CHECK", "FOUND", "CURE"),
        rows=[("√" if row["passed"] else "×", row["check"], row["found"], "" if row["passed"] else row["cure"]) for row in rows],
        styles=["" if row["passed"] else "red" for row in rows],
    )
    show(output, rows, listing)
    if not all(row["passed"] for row in rows):
        raise typer.Exit(WANTING)


def _of_control_planes(target: AdminTarget) -> Iterator[CheckRow]:
    try:
        clients = target.clients
        for client in clients:
            lines = "\n".join(client.lines("/readyz", silent_s=10)).strip()
            yield _row(f"{client.name} is ready", lines == "ok", lines, "navarch problems --severity error")
    except CommandFailed as error:
        yield _row("a control plane answers", passed=False, found=str(error), cure="navarch serve --help")
        return
    client = target.client
    errors = [row for row in client.rows("/v1/problems") if text(row, "severity") == "error"]
    clashes = [row for row in errors if "port" in text(row, "message").lower() and "conflict" in text(row, "code").lower()]
    yield _row("no object is refused", not errors, f"{len(errors)} errors", "navarch problems --severity error")
    yield _row("no ports clash", not clashes, f"{len(clashes)} clashes", "navarch problems --severity error")
    rows = [row for _, row in target.proxies()]
    old = [row for row in client.rows("/v1/problems") if "version" in text(row, "code").lower() and text(row, "severity") != "info"]
    yield _row("Envoys are of supported versions", not old, _versions(rows), "navarch problems")
    unsynced = [text(row, "id") for row in rows if row.get("synced") is not True]
    yield _row("every proxy has accepted everything", not unsynced, f"{len(rows) - len(unsynced)} of {len(rows)} have", "navarch proxies")
    yield from _of_identity(client.find("/v1/identity"), time.time())
    skew = client.clock_skew_s(time.time)
    yield _row("its clock is right", abs(skew) <= _SKEW_S, f"{skew:+.0f} s from the clock here", "timedatectl status")


def _of_identity(identity: object, now: float) -> Iterator[CheckRow]:
    if not isinstance(identity, dict):
        return
    roots = [instant(root, "expiresAt") - now for root in items(identity, "roots")]
    left = min(roots, default=0.0)
    yield _row("roots that are trusted are good", left > _EXPIRES_S, f"the first for {left / 86_400:.0f} days more", "navarch ca prepare")
    first = instant(identity, "firstExpiresAt")
    if first:
        yield _row(
            "certificates of workloads are renewed", first > now, f"the first ends in {(first - now) / 60:.0f} min", "navarch proxies"
        )


def _of_cluster(target: AdminTarget) -> Iterator[CheckRow]:
    from controlplane.cli.operator.port_forward import core_api

    try:
        api = core_api(target.kubeconfig, target.context).api_client
        version = text(_get(api, "/version"), "gitVersion")
    except CommandFailed as error:
        yield _row("the API server answers", passed=False, found=str(error), cure="kubectl cluster-info")
        return
    yield _row("the API server answers", passed=True, found=version, cure="")
    yield _there(api, "the namespace is there", f"/api/v1/namespaces/{target.system_namespace}", "navarch manifests | kubectl apply -f -")
    for group in ("networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io", "navarch.dev"):
        yield _there(api, f"kinds of {group} are defined", f"/apis/{group}", "navarch crds | kubectl apply -f -")
    for group, resource, verb in _RIGHTS:
        allowed = _allowed(api, group, resource, verb)
        yield _row(f"you may {verb} {resource}", allowed, "yes" if allowed else "no", f"kubectl auth can-i {verb} {resource}")
    for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
        found = [item for item in items(_get(api, f"{_WEBHOOKS}/{kind}")) if "navarch" in text(section(item, "metadata"), "name")]
        trusted = [item for item in found if all(text(section(hook, "clientConfig"), "caBundle") for hook in items(item, "webhooks"))]
        told = f"{len(found)} there, {len(trusted)} with a certificate"
        yield _row(f"{kind} are registered", bool(found) and len(trusted) == len(found), told, "navarch manifests | kubectl apply -f -")


def _there(api: ApiClient, name: str, path: str, cure: str) -> CheckRow:
    try:
        _get(api, path)
    except CommandFailed as error:
        return _row(name, passed=False, found=str(error), cure=cure)
    return _row(name, passed=True, found="yes", cure=cure)


def _allowed(api: ApiClient, group: str, resource: str, verb: str) -> bool:
    from controlplane.cli.operator.port_forward import answer_of

    name, _, sub = resource.partition("/")
    spec = {"resourceAttributes": {"group": group, "resource": name, "subresource": sub, "verb": verb}}
    review: Json = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    found = answer_of(lambda: _raw(api, "POST", path, review))
    return section(found, "status").get("allowed") is True


def _get(api: ApiClient, path: str) -> Json:
    from controlplane.cli.operator.port_forward import answer_of

    return answer_of(lambda: _raw(api, "GET", path, None))


def _raw(api: ApiClient, method: str, path: str, body: Json | None) -> object:
    """Return the answer of the API server, with its credentials, to a request for ``path``; raises ApiException."""
    from kubernetes.client.exceptions import ApiException

    sign: Callable[..., None] = api.update_params_for_auth
    call: Callable[..., RESTResponse] = api.call_api
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    sign(headers, [], ["BearerToken"], path, method, body)
    answer = call(method, f"{api.configuration.host}{path}", header_params=headers, body=body, _request_timeout=30)
    read: Callable[[], object] = answer.read
    read()
    if answer.status >= 400:
        raise ApiException(status=answer.status, reason=f"{path}: {answer.reason}")
    return answer


def _versions(rows: list[Json]) -> str:
    found = sorted({text(row, "envoy") or "unknown" for row in rows})
    return ", ".join(found) or "no proxies"


def _row(check_name: str, passed: bool, found: str, cure: str) -> CheckRow:  # noqa: FBT001
    return CheckRow(check=check_name, passed=passed, found=found[:200], cure=cure)
