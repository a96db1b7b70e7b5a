"""Reaches control planes in a cluster by a port-forward to their pods, as kubectl does: the admin API listens on their loopback alone."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from functools import partial
from http.client import HTTPConnection
from typing import TYPE_CHECKING

from controlplane.cli.operator.client import AdminClient
from controlplane.cli.operator.failures import UNREACHABLE, CommandFailed
from controlplane.untyped import Json, items, section, text

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api
    from kubernetes.stream.ws_client import PortForward

ADMIN_PORT = 15014
PODS = "app.kubernetes.io/name=navarch"


def pod_clients(kubeconfig: str | None, context: str | None, namespace: str, port: int = ADMIN_PORT) -> tuple[AdminClient, ...]:
    """Return a client for each control plane that runs in ``namespace``; raises CommandFailed where none does."""
    api = core_api(kubeconfig, context)
    pods = running_pods(api, namespace, PODS)
    if not pods:
        raise CommandFailed(f"no pod with {PODS} runs in {namespace}: --system-namespace names another", UNREACHABLE)
    return tuple(AdminClient(f"pod {pod}", partial(forwarded, api, pod, namespace, port)) for pod in pods)


def core_api(kubeconfig: str | None, context: str | None) -> CoreV1Api:
    """Return the API server of ``kubeconfig`` and ``context``, kubectl's own where they are not given; raises CommandFailed."""
    from kubernetes import config
    from kubernetes.client import CoreV1Api

    load: Callable[..., object] = config.new_client_from_config
    try:
        return CoreV1Api(load(config_file=kubeconfig, context=context))
    except (config.ConfigException, OSError, ValueError, TypeError, KeyError) as error:
        words = str(error).replace("\n", " ")[:300] or type(error).__name__
        raise CommandFailed(f"the kubeconfig {kubeconfig or '~/.kube/config'} cannot be used: {words}") from None


def running_pods(api: CoreV1Api, namespace: str, labels: str) -> list[str]:
    """Return the names of the pods in ``namespace`` with ``labels`` that run; raises CommandFailed."""
    pods = answer_of(lambda: api.list_namespaced_pod(namespace, label_selector=labels, _preload_content=False, _request_timeout=30))
    running = [pod for pod in items(pods) if text(section(pod, "status"), "phase") == "Running"]
    return sorted(text(section(pod, "metadata"), "name") for pod in running)


def answer_of(call: Callable[[], object]) -> Json:
    """Return the JSON that ``call`` gets of the API server; raises CommandFailed in its words."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        data = getattr(call(), "data", b"{}")
        found: object = json.loads(data)
    except ApiException as error:
        raise CommandFailed(f"the API server answers {error.status}: {error.reason}", UNREACHABLE) from None
    except (HTTPError, OSError, ValueError) as error:
        raise CommandFailed(f"the API server cannot be reached: {str(error)[:300]}", UNREACHABLE) from None
    return found if isinstance(found, dict) else {}


class _ForwardedConnection(HTTPConnection):
    """A connection whose bytes go through the API server."""

    def __init__(self, opened: socket.socket, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        opened.settimeout(timeout_s)
        self.sock = opened


def forwarded(api: CoreV1Api, pod: str, namespace: str, port: int, timeout_s: float) -> HTTPConnection:
    """Return a connection to ``port`` of ``pod``; raises CommandFailed."""
    from kubernetes.client.exceptions import ApiException
    from kubernetes.stream import portforward

    forward: Callable[..., PortForward] = portforward
    try:
        opened = forward(api.connect_get_namespaced_pod_portforward, pod, namespace, ports=str(port))
    except ApiException as error:
        words = str(error.reason)[:300]
        raise CommandFailed(
            f"pod {pod} in {namespace} cannot be forwarded to (right to create pods/portforward?): {words}", UNREACHABLE
        ) from None
    socket_of: Callable[[int], socket.socket] = opened.socket  # the package says no types
    return _ForwardedConnection(socket_of(port), timeout_s)
