"""An application's probes and hooks, led past mutual TLS: the kubelet asks Envoy instead, which asks the application.

The paths are Istio's. What Envoy does at them stands in ``status_ports.py``. A probe by TCP or gRPC becomes one by HTTP: a kubelet that
only connected would meet Envoy, which is always there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from string import punctuation
from urllib.parse import quote

from controlplane.bootstrap.status_listeners import ApplicationProbe
from controlplane.inject.pod import BadPod
from controlplane.kube.json import Json, items, section, text
from controlplane.objects.types.scalars import MAX_PORT

_PATHS = {
    "readinessProbe": "/app-health/{}/readyz",
    "livenessProbe": "/app-health/{}/livez",
    "startupProbe": "/app-health/{}/startupz",
}
_HOOKS = {"postStart": "/app-lifecycle/{}/poststartz", "preStop": "/app-lifecycle/{}/prestopz"}
_HOW = ("httpGet", "tcpSocket", "grpc")
_MAX_PATH = 2048
_MAX_WAIT_S = 3600


@dataclass(frozen=True, slots=True)
class RewrittenContainer:
    """A container with its probes and hooks led past, and what Envoy has to know of them."""

    container: Json
    probes: tuple[ApplicationProbe, ...] = ()


def rewritten_container(container: Json, path: str, status_port: int) -> RewrittenContainer:
    """Return ``container``, which stands at ``path``, with what the kubelet asks it asked at ``status_port``; raises BadPod."""
    made = dict(container)
    found: list[ApplicationProbe] = []
    for name, asked in _PATHS.items():
        said = section(container, name)
        if probe := _probe(container, said, asked, f"{path}.{name}"):
            made[name] = {key: value for key, value in said.items() if key not in _HOW} | _asks(said, probe, status_port)
            found.append(probe)
    lifecycle = section(container, "lifecycle")
    for name, asked in _HOOKS.items():
        said = section(lifecycle, name)
        probe = _probe(container, said, asked, f"{path}.lifecycle.{name}")
        if probe and probe.kind == "http":
            lifecycle = {**lifecycle, name: _asks(said, probe, status_port)}
            found.append(replace(probe, timeout_s=_MAX_WAIT_S))
    if lifecycle:
        made["lifecycle"] = lifecycle
    return RewrittenContainer(made, tuple(found))


def rewritten_containers(containers: Mapping[str, Json], status_port: int) -> tuple[dict[str, Json], tuple[ApplicationProbe, ...]]:
    """Return all ``containers``, by their paths, with their probes led past, and the probes."""
    made = {path: rewritten_container(each, path, status_port) for path, each in containers.items()}
    return {path: each.container for path, each in made.items()}, tuple(probe for each in made.values() for probe in each.probes)


def _probe(container: Json, said: Json, asked: str, path: str) -> ApplicationProbe | None:
    """Return the probe that ``said`` is, None where it does not come by the network of the pod."""
    http, tcp, grpc = (section(said, each) for each in _HOW)
    if http.get("host") or tcp.get("host"):
        return None  # it asks somebody else
    at = asked.format(container["name"])
    wait_s = said.get("timeoutSeconds", 1)
    timeout_s = wait_s if isinstance(wait_s, int) and not isinstance(wait_s, bool) and 0 < wait_s <= _MAX_WAIT_S else 1
    if http:
        where = text(http, "path") or "/"
        if len(where) > _MAX_PATH or not where.isprintable():
            raise BadPod(f"{path}.httpGet.path: expected at most {_MAX_PATH} printable characters")
        where = escaped_argument(quote(where if where.startswith("/") else f"/{where}", safe=punctuation))  # as a kubelet writes it
        port = _port(container, http.get("port"), f"{path}.httpGet.port")
        return ApplicationProbe(
            requested=at, kind="http", port=port, path=where, tls=text(http, "scheme").upper() == "HTTPS", timeout_s=timeout_s
        )
    if tcp:
        return ApplicationProbe(
            requested=at, kind="tcp", port=_port(container, tcp.get("port"), f"{path}.tcpSocket.port"), timeout_s=timeout_s
        )
    if grpc:
        service = text(grpc, "service")
        if len(service) > _MAX_PATH or not service.isprintable():
            raise BadPod(f"{path}.grpc.service: expected at most {_MAX_PATH} printable characters")
        port = _port(container, grpc.get("port"), f"{path}.grpc.port")
        return ApplicationProbe(requested=at, kind="grpc", port=port, service=escaped_argument(service), timeout_s=timeout_s)
    return None


def _asks(said: Json, probe: ApplicationProbe, status_port: int) -> Json:
    """Return how the kubelet asks for ``probe``; the headers that the probe has stay."""
    headers = section(said, "httpGet").get("httpHeaders")
    return {
        "httpGet": {
            "path": probe.requested,
            "port": status_port,
            "scheme": "HTTP",
            **({"httpHeaders": headers} if headers else {}),
        }
    }


def _port(container: Json, said: object, path: str) -> int:
    """Return the port ``said``, a number or a name among those of ``container``."""
    if isinstance(said, int) and not isinstance(said, bool) and 0 < said <= MAX_PORT:
        return said
    if isinstance(said, str) and said.isascii() and said.isdecimal() and 0 < int(said[:6]) <= MAX_PORT:
        return int(said)
    named = [number for name, number in _named(container) if name == said]
    if not named:
        raise BadPod(f"{path}: expected a port from 1 to {MAX_PORT}, or the name of one of the container's, found {str(said)[:80]!r}")
    return named[0]


def _named(container: Json) -> Iterator[tuple[str, int]]:
    for each in items(container, "ports"):
        number = each.get("containerPort")
        if isinstance(number, int):
            yield text(each, "name"), number


def escaped_argument(text: str) -> str:
    """Return ``text`` so that the kubelet, which puts values in for ``$(NAME)`` in arguments, leaves it as it is.

    https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/
    """
    return text.replace("$", "$$")
