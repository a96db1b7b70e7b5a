"""An application's probes and hooks, rewritten to pass by mutual TLS: the kubelet asks Envoy instead, which asks the application.

The paths are Istio's. What Envoy does at them stands in ``bootstrap/status_listeners.py``. A probe by TCP or gRPC becomes one by HTTP:
a kubelet that only connected would meet Envoy, which is always there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from string import punctuation
from urllib.parse import quote

from controlplane.bootstrap.status_listeners import ApplicationProbe
from controlplane.inject.pod import BadPod
from controlplane.objects.types.scalars import MAX_PORT
from controlplane.untyped import Json, items, section, text

_PATHS = {
    "readinessProbe": "/app-health/{}/readyz",
    "livenessProbe": "/app-health/{}/livez",
    "startupProbe": "/app-health/{}/startupz",
}
_HOOKS = {"postStart": "/app-lifecycle/{}/poststartz", "preStop": "/app-lifecycle/{}/prestopz"}
_ACTIONS = ("httpGet", "tcpSocket", "grpc")
_MAX_PATH = 2048
_MAX_WAIT_S = 3600


@dataclass(frozen=True, slots=True)
class RewrittenContainer:
    """A container with its probes and hooks rewritten, and what Envoy has to know of them."""

    container: Json
    probes: tuple[ApplicationProbe, ...] = ()


def rewritten_container(container: Json, path: str, status_port: int) -> RewrittenContainer:
    """Return ``container``, which stands at ``path``, with what the kubelet asks it redirected to ``status_port``; raises BadPod."""
    rewritten = dict(container)
    probes: list[ApplicationProbe] = []
    for name, path_template in _PATHS.items():
        handler = section(container, name)
        if probe := _probe(container, handler, path_template, f"{path}.{name}"):
            rewritten[name] = {key: value for key, value in handler.items() if key not in _ACTIONS} | _http_get(handler, probe, status_port)
            probes.append(probe)
    lifecycle = section(container, "lifecycle")
    for name, path_template in _HOOKS.items():
        handler = section(lifecycle, name)
        probe = _probe(container, handler, path_template, f"{path}.lifecycle.{name}")
        if probe and probe.kind == "http":
            lifecycle = {**lifecycle, name: _http_get(handler, probe, status_port)}
            probes.append(replace(probe, timeout_s=_MAX_WAIT_S))
    if lifecycle:
        rewritten["lifecycle"] = lifecycle
    return RewrittenContainer(rewritten, tuple(probes))


def rewritten_containers(containers: Mapping[str, Json], status_port: int) -> tuple[dict[str, Json], tuple[ApplicationProbe, ...]]:
    """Return all ``containers``, by their paths, with their probes rewritten, and the probes."""
    rewritten = {path: rewritten_container(container, path, status_port) for path, container in containers.items()}
    probes = tuple(probe for result in rewritten.values() for probe in result.probes)
    return {path: result.container for path, result in rewritten.items()}, probes


def _probe(container: Json, handler: Json, path_template: str, path: str) -> ApplicationProbe | None:
    """Return the probe that ``handler`` is, None where it does not come by the network of the pod."""
    http, tcp, grpc = (section(handler, action) for action in _ACTIONS)
    if http.get("host") or tcp.get("host"):
        return None  # it asks somebody else
    requested = path_template.format(container["name"])
    wait_s = handler.get("timeoutSeconds", 1)
    timeout_s = wait_s if isinstance(wait_s, int) and not isinstance(wait_s, bool) and 0 < wait_s <= _MAX_WAIT_S else 1
    if http:
        app_path = text(http, "path") or "/"
        if len(app_path) > _MAX_PATH or not app_path.isprintable():
            raise BadPod(f"{path}.httpGet.path: expected at most {_MAX_PATH} printable characters")
        quoted = quote(app_path if app_path.startswith("/") else f"/{app_path}", safe=punctuation)  # as a kubelet writes it
        port, tls = _port(container, http.get("port"), f"{path}.httpGet.port"), text(http, "scheme").upper() == "HTTPS"
        return ApplicationProbe(requested=requested, kind="http", port=port, path=escaped_argument(quoted), tls=tls, timeout_s=timeout_s)
    if tcp:
        port = _port(container, tcp.get("port"), f"{path}.tcpSocket.port")
        return ApplicationProbe(requested=requested, kind="tcp", port=port, timeout_s=timeout_s)
    if grpc:
        service = text(grpc, "service")
        if len(service) > _MAX_PATH or not service.isprintable():
            raise BadPod(f"{path}.grpc.service: expected at most {_MAX_PATH} printable characters")
        port = _port(container, grpc.get("port"), f"{path}.grpc.port")
        return ApplicationProbe(requested=requested, kind="grpc", port=port, service=escaped_argument(service), timeout_s=timeout_s)
    return None


def _http_get(handler: Json, probe: ApplicationProbe, status_port: int) -> Json:
    """Return how the kubelet asks for ``probe``; the headers that the probe has stay."""
    headers = section(handler, "httpGet").get("httpHeaders")
    return {
        "httpGet": {
            "path": probe.requested,
            "port": status_port,
            "scheme": "HTTP",
            **({"httpHeaders": headers} if headers else {}),
        }
    }


def _port(container: Json, port: object, path: str) -> int:
    """Return the number of ``port``, a number or a name among those of ``container``."""
    if isinstance(port, int) and not isinstance(port, bool) and 0 < port <= MAX_PORT:
        return port
    if isinstance(port, str) and port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= MAX_PORT:
        return int(port)
    named = [number for name, number in _named_ports(container) if name == port]
    if not named:
        raise BadPod(f"{path}: expected a port from 1 to {MAX_PORT}, or the name of one of the container's, found {str(port)[:80]!r}")
    return named[0]


def _named_ports(container: Json) -> Iterator[tuple[str, int]]:
    for port in items(container, "ports"):
        number = port.get("containerPort")
        if isinstance(number, int):
            yield text(port, "name"), number


def escaped_argument(text: str) -> str:
    """Return ``text`` so that the kubelet, which puts values in for ``$(NAME)`` in arguments, leaves it as it is.

    https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/
    """
    return text.replace("$", "$$")
