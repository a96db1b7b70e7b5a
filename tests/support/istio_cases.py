"""Istio's own cases of validation, and where we differ."""

from __future__ import annotations

import copy
from pathlib import Path

from controlplane.objects.kinds import KINDS

CASES = Path(__file__).parents[3] / "shared" / "cases"
# The version of each of Istio's kinds that is read.
READ = {kind: f"{group}/{each.versions[0]}" for (group, kind), each in KINDS.items() if group.endswith("istio.io")}
Json = dict[str, object]
SMALLEST: dict[str, Json] = {
    "VirtualService": {"hosts": ["foo.bar"], "http": [{"route": [{"destination": {"host": "foo.baz"}}]}]},
    "DestinationRule": {"host": "reviews"},
    "ServiceEntry": {"hosts": ["google.com"]},
    "WorkloadEntry": {"address": "1.1.1.1"},
    "Sidecar": {"egress": [{"hosts": ["*/*"]}]},
    "Gateway": {"servers": [{"hosts": ["foo.bar.com"], "port": {"name": "http", "number": 80, "protocol": "HTTP"}}]},
}
# Verdicts that differ, each with its reason.
_LOST = "its nanoseconds were lost when the case was written down"
EXCEPTIONS = {
    "invalid timeout": _LOST,
    "invalid delay": _LOST,
    "invalid connection pool, bad connect timeout": _LOST,
    "invalid connection pool, bad http2 keepalive interval": _LOST,
    "invalid outlier detection, bad base ejection time": _LOST,
    "dry run annotation not supported": "its annotation was lost when the case was written down",
    "tracing with a nil custom tag": "its null was lost when the case was written down",
    "happy k8s gateway-api server with no attached routes": "what marks it as made from the Gateway API was lost: by hand, ~/ is refused",
    "mutual more than 2 certs": "the schema of Istio's CRD takes two at most, and so do we",
    "invalid-presence-value": "the field is not in Istio's CRDs yet: it is told as unknown",
}


def placed(target: str, spec: object) -> Json:
    """Return a whole object, otherwise valid and as small as can be, with ``spec`` at ``target``."""
    kind, _, path = target.partition(".")
    path, _, note = path.partition(" ")
    whole = copy.deepcopy(SMALLEST[kind]) if path else spec
    assert isinstance(whole, dict)
    match path:
        case "":
            pass
        case "http[]":
            whole["http"] = [spec]
            if note == "(delegate)":
                del whole["hosts"]
        case "http[].fault.abort" | "http[].fault.delay":
            whole["http"] = [{"route": [{"destination": {"host": "a"}}], "fault": {path.rpartition(".")[2]: spec}}]
        case "http[].redirect" | "http[].directResponse":
            whole["http"] = [{path.rpartition(".")[2]: spec}]
        case "servers[]" | "servers[].port" | "servers[].tls":
            whole["servers"] = [_server(path, spec)]
        case "*.destination":
            whole["http"] = [{"route": [{"destination": spec}]}]
        case "tcp[].route":
            whole = {"hosts": ["foo.bar"], "tcp": [{"route": spec}]}
        case _ if path.startswith("http[]."):
            whole["http"] = [{"route": [{"destination": {"host": "a"}}], path.removeprefix("http[]."): spec}]
        case _:
            _put(whole, path, spec)
    return {"apiVersion": READ[kind], "kind": kind, "metadata": {"name": "x"}, "spec": whole}


def _server(path: str, spec: object) -> object:
    match path:
        case "servers[].port":
            return {"hosts": ["foo.bar.com"], "port": spec}
        case "servers[].tls":
            return {"hosts": ["foo.bar.com"], "port": {"name": "https", "number": 443, "protocol": "HTTPS"}, "tls": spec}
        case _:
            return spec


def _put(at: Json, path: str, spec: object) -> None:
    *parents, last = path.split(".")
    for name in parents:
        below: Json = {}
        at[name] = below
        at = below
    at[last] = spec
