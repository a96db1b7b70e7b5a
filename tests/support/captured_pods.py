"""Pods whose connections are captured: a network namespace each, with a worker that is the application, and an Envoy as user 1337."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import subprocess
import urllib.parse
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.app.identity import SIGNING_KEY_FILE
from controlplane.bootstrap.bootstrap import BootstrapNode, BootstrapSettings, bootstrap
from controlplane.bootstrap.statistics import Statistics
from controlplane.bootstrap.xds_cluster import XdsServer
from controlplane.ca.file_store import FileStore
from controlplane.ca.rotation import load_state, read_key
from controlplane.ca.tokens import AUDIENCE, sign_token
from controlplane.model.proxies import Interception, ProxyType
from tests.support import network_namespaces as namespaces
from tests.support.application import Application
from tests.support.envoys import CredentialFiles
from tests.support.interception import Worker
from tests.support.node import Node
from tests.support.processes import envoy_binary

_HOUR = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A pod to have: its label ``app`` is its service account and, unless it is said, its name."""

    app: str
    name: str = ""
    namespace: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    type: ProxyType = ProxyType.SIDECAR  # a router's connections are not captured
    sources: tuple[str, ...] = ()  # further addresses
    v6: bool = False  # whether it has an address of IPv6 too

    @property
    def pod(self) -> str:
        """Return the name of the pod."""
        return self.name or self.app


class CapturedPod(Application):
    """The application of a pod that runs, and its Envoy."""

    def __init__(self, made: Workload, worker: Worker, network: str, ip: str) -> None:
        super().__init__(worker)
        self.made = made
        self.network = network  # its namespace
        self.ip = ip
        self.envoy: subprocess.Popen[bytes] | None = None

    @property
    def ips(self) -> tuple[str, ...]:
        """Return its addresses, as its Pod says."""
        return (self.ip, v6_of(self.ip)) if self.made.v6 else (self.ip,)

    @property
    def ready(self) -> bool:
        """Return whether its Envoy says that it is ready."""
        assert self.envoy is None or self.envoy.poll() is None, f"the Envoy of {self.made.pod} has ended"
        return self.http("127.0.0.1", 15021, path="/healthz/ready").status == 200

    def stat(self, cluster: str, name: str = "upstream_cx_total") -> int:
        """Return the statistic ``name`` of ``cluster`` in its Envoy, 0 where it has not begun."""
        wanted = urllib.parse.quote(rf"^cluster\.{re.escape(cluster)};?\.{name}$")
        said = self.http("127.0.0.1", 15000, path=f"/stats?filter={wanted}").body
        return int(said.rpartition(":")[2] or 0)


def captured_pod(stack: ExitStack, here: Node, made: Workload) -> CapturedPod:
    """Return a pod on ``here`` as it is ``made``, with its application, and without an Envoy."""
    network, ip = stack.enter_context(here.sandbox())
    six = (f"addr add {v6_of(ip)}/64 dev eth0 nodad", "route add ::/0 dev eth0") if made.v6 else ()
    sources = [f"addr add {each}/32 dev eth0" for each in made.sources]
    # Whatever has an address is on the bridge, and answers when it is asked for.
    namespaces.batch(network, ["link set eth0 addrgenmode none", "route replace default dev eth0", *six, *sources])
    return CapturedPod(made, started_worker(stack, network), network, ip)


def manifest(pod: CapturedPod) -> dict[str, object]:
    """Return the Pod that ``pod`` is."""
    metadata = {"name": pod.made.pod, "namespace": pod.made.namespace, "labels": _labels(pod.made)}
    status = {"phase": "Running", "podIP": pod.ip, "podIPs": [{"ip": ip} for ip in pod.ips]}
    spec = {"serviceAccountName": pod.made.app, "containers": []}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def start_envoy(stack: ExitStack, pod: CapturedPod, folder: Path, plane: str) -> None:
    """Start the Envoy of ``pod``, whose control plane is at ``plane``, and keeps its authority below ``folder``."""
    made, state = pod.made, folder / "state"
    key, known = read_key(FileStore(state, SIGNING_KEY_FILE).read_now() or b""), FileStore(state).read_now()
    assert known
    held = CredentialFiles(folder / f"{made.pod}-credentials")
    token = sign_token(key, (made.namespace, made.app), AUDIENCE, dt.datetime.now(dt.UTC), _HOUR)
    held.write(token=token, roots=load_state(known).bundle.decode())
    settings = BootstrapSettings(
        node=BootstrapNode(
            name=made.pod,
            namespace=made.namespace,
            ip=pod.ip,
            service_account=made.app,
            type=made.type,
            labels=tuple(sorted(_labels(made).items())),
            interception=Interception.REDIRECT if made.type is ProxyType.SIDECAR else Interception.NONE,
            more=(("INSTANCE_IPS", ",".join(pod.ips)),),
        ),
        control_plane=XdsServer(addresses=(plane,), credentials=held.files),
        statistics=Statistics(prefixes=("cluster.", "listener.")),
    )
    config = folder / f"{made.pod}.json"
    config.write_text(json.dumps(bootstrap(settings)))
    by = ("ip", "netns", "exec", pod.network, "setpriv", "--reuid=1337", "--regid=1337", "--clear-groups", envoy_binary())
    told = ("-c", str(config), "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning")
    pod.envoy = started(stack, folder / f"{made.pod}.log", *by, *told)


def v6_of(ip: str) -> str:
    """Return the address of IPv6 of the pod that has ``ip``."""
    return f"fd88::{ip.rpartition('.')[2]}"


def started_worker(stack: ExitStack, network: str) -> Worker:
    """Return a process in ``network`` that does what an application does."""
    worker = Worker(network)
    stack.callback(worker.end)
    return worker


def started(stack: ExitStack, log: Path, *command: str) -> subprocess.Popen[bytes]:
    """Start ``command``, which writes into ``log``, and is killed at the end."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, "POD_NAME": "navarch"}
        )
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def _labels(made: Workload) -> dict[str, str]:
    # That is what injection adds to pods with a sidecar; what a gateway takes, its Gateways say.
    mode = {"security.istio.io/tlsMode": "istio"} if made.type is ProxyType.SIDECAR else {}
    return {"app": made.app, **mode, **made.labels}
