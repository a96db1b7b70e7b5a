"""A mesh whose connections are captured: pods with rules of iptables and an Envoy each, and servers outside of them that count what comes.

A pod is a network namespace with a worker (the application), the rules that ``navarch iptables`` sets, and an Envoy as user 1337. What is
not of the mesh stands in one more namespace, which has every address that a server is given there. All are on one bridge and find each
other without a router, and ``navarch serve`` runs beside them. What a test sees is who has answered.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.app.identity import SIGNING_KEY_FILE
from controlplane.bootstrap.bootstrap import BootstrapNode, BootstrapSettings, bootstrap
from controlplane.bootstrap.xds_cluster import XdsServer
from controlplane.ca.file_store import FileStore
from controlplane.ca.rotation import load_state, read_key
from controlplane.ca.tokens import AUDIENCE, sign_token
from controlplane.model.proxies import Interception, ProxyType
from tests.support import network_namespaces as namespaces
from tests.support.application import Application
from tests.support.certificates import Authority, write_files
from tests.support.cluster import tail
from tests.support.envoys import CredentialFiles
from tests.support.interception import Worker
from tests.support.node import Node, node
from tests.support.processes import envoy_binary, passable
from tests.support.waiting import DEADLINE_S, wait_until

OUTSIDE = "outside"
_ADMIN = "127.0.0.1:15014"
_NAVARCH = (sys.executable, "-m", "controlplane.cli.main")
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


@dataclass(frozen=True, slots=True)
class Server:
    """A server to have at ``port`` of ``host``, a pod or an address outside; where there are ``names``, it shows a certificate for them."""

    who: str
    host: str
    port: int
    protocol: str = "tcp"
    names: tuple[str, ...] = ()


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


@dataclass
class CapturedMesh:
    """What runs."""

    node: Node
    folder: Path
    outside: Application
    pods: dict[str, CapturedPod] = field(default_factory=dict)

    def __getitem__(self, pod: str) -> CapturedPod:
        """Return the pod that is called ``pod``."""
        return self.pods[pod]

    @contextmanager
    def counted(self) -> Iterator[Counter[str]]:
        """Yield what says, when the block has ended, how many connections of TCP and requests came meanwhile, by who took them."""
        before, found = self._arrived(), Counter[str]()
        yield found
        found.update(self._arrived() - before)

    def save(self, name: str, manifests: str) -> None:
        """Let ``manifests`` be what the file ``name`` of the folder says."""
        draft = self.folder / "manifests" / f"{name}.yaml~"
        draft.write_text(manifests)
        draft.rename(draft.with_suffix(".yaml"))

    def problems(self) -> list[tuple[str, str]]:
        """Return object and field of each Problem."""
        found = _get("/v1/problems")
        assert isinstance(found, list)
        return [(str(each["object"]), str(each["field"])) for each in found]

    def refused(self) -> list[str]:
        """Return what proxies have refused."""
        found = _get("/v1/proxies")
        assert isinstance(found, list)
        types = (each for row in found for stream in row["connections"] for each in stream["types"])
        return [f"{each['type']}: {each['error']}" for each in types if each["nacked"]]

    def _arrived(self) -> Counter[str]:
        return sum((each.arrived() for each in (self.outside, *self.pods.values())), Counter[str]())


@contextmanager
def captured_mesh(
    folder: Path, manifests: str, workloads: Sequence[Workload], servers: Sequence[Server], *, options: Sequence[str] = ()
) -> Iterator[CapturedMesh]:
    """Yield a mesh by ``manifests``, where ``<name>`` stands for the address of a pod, and ``<ca>`` for who has signed for the servers.

    All Envoys have accepted what they are to have when the block begins. The ``options`` are more of ``navarch serve``.
    """
    namespaces.needed()
    passable(folder)
    with ExitStack() as stack:
        here = stack.enter_context(node())
        network, _ = stack.enter_context(here.sandbox())
        mesh = CapturedMesh(here, folder, Application(_worker(stack, network)))
        _address_outside(network, [each.host for each in servers if "." in each.host or ":" in each.host])
        for each in workloads:
            mesh.pods[each.pod] = _pod(stack, here, each)
        _write(mesh, manifests)
        plane = _serve(stack, mesh, options)
        _capture(mesh)
        _listen(mesh, servers)
        try:
            wait_until(_is_ready, "the control plane is ready")
            for pod in mesh.pods.values():
                _start_envoy(stack, mesh, pod)
            wait_until(lambda: all(pod.ready for pod in mesh.pods.values()), "the Envoys are ready")
            wait_until(lambda: _synced() == len(mesh.pods), "the Envoys have accepted all")
            yield mesh
        except BaseException:
            assert plane.poll() is None, tail(folder / "plane.log")
            for name in ("plane", *mesh.pods):
                print(f"--- {name}", tail(folder / f"{name}.log"), sep="\n")
            raise


def v6_of(ip: str) -> str:
    """Return the address of IPv6 of the pod that has ``ip``."""
    return f"fd88::{ip.rpartition('.')[2]}"


def _worker(stack: ExitStack, network: str) -> Worker:
    worker = Worker(network)
    stack.callback(worker.end)
    return worker


def _address_outside(network: str, addresses: Sequence[str]) -> None:
    lines = [f"addr add {each}/128 dev eth0 nodad" if ":" in each else f"addr add {each}/32 dev eth0" for each in dict.fromkeys(addresses)]
    namespaces.batch(network, ["link set eth0 addrgenmode none", *lines, "route add ::/0 dev eth0"])


def _pod(stack: ExitStack, here: Node, made: Workload) -> CapturedPod:
    network, ip = stack.enter_context(here.sandbox())
    six = (f"addr add {v6_of(ip)}/64 dev eth0 nodad", "route add ::/0 dev eth0") if made.v6 else ()
    sources = [f"addr add {each}/32 dev eth0" for each in made.sources]
    # Whatever has an address is on the bridge, and answers when it is asked for.
    namespaces.batch(network, ["link set eth0 addrgenmode none", "route replace default dev eth0", *six, *sources])
    return CapturedPod(made, _worker(stack, network), network, ip)


def _write(mesh: CapturedMesh, manifests: str) -> None:
    for name, pod in mesh.pods.items():
        manifests = manifests.replace(f"<{name}>", pod.ip)
    manifests = manifests.replace("<ca>", str(mesh.folder / "servers" / "ca.crt"))
    (mesh.folder / "manifests").mkdir()
    (mesh.folder / "manifests" / "pods.yaml").write_text("\n---\n".join(json.dumps(_manifest(pod)) for pod in mesh.pods.values()))
    (mesh.folder / "manifests" / "all.yaml").write_text(manifests)


def _manifest(pod: CapturedPod) -> dict[str, object]:
    metadata = {"name": pod.made.pod, "namespace": pod.made.namespace, "labels": _labels(pod.made)}
    status = {"phase": "Running", "podIP": pod.ip, "podIPs": [{"ip": ip} for ip in pod.ips]}
    spec = {"serviceAccountName": pod.made.app, "containers": []}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def _labels(made: Workload) -> dict[str, str]:
    # That is what injection adds to pods with a sidecar; what a gateway takes, its Gateways say.
    mode = {"security.istio.io/tlsMode": "istio"} if made.type is ProxyType.SIDECAR else {}
    return {"app": made.app, **mode, **made.labels}


def _serve(stack: ExitStack, mesh: CapturedMesh, options: Sequence[str]) -> subprocess.Popen[bytes]:
    where = ("--files", str(mesh.folder / "manifests"), "--state", str(mesh.folder / "state"), "--admin", _ADMIN)
    return _started(stack, mesh.folder / "plane.log", *_NAVARCH, "serve", *where, "--xds-tls", f"{mesh.node.ip}:15012", *options)


def _capture(mesh: CapturedMesh) -> None:
    command = (*_NAVARCH, "iptables")
    captured = [pod for pod in mesh.pods.values() if pod.made.type is ProxyType.SIDECAR]
    running = [subprocess.Popen(["ip", "netns", "exec", pod.network, *command], stdout=subprocess.DEVNULL) for pod in captured]
    assert [each.wait(DEADLINE_S) for each in running] == [0] * len(running)


def _listen(mesh: CapturedMesh, servers: Sequence[Server]) -> None:
    """Start the servers; each address has its own, so that nobody answers for somebody else."""
    authority = Authority()
    for each in servers:
        place, host = (mesh.pods[each.host], "0.0.0.0") if each.host in mesh.pods else (mesh.outside, each.host)
        certificate = mesh.folder / f"of-{each.who}"
        if each.names:
            write_files(certificate, *each.names, authority=authority)
        place.serve(each.who, host, each.port, each.protocol, str(certificate) if each.names else "")
    write_files(mesh.folder / "servers", "servers", authority=authority)


def _start_envoy(stack: ExitStack, mesh: CapturedMesh, pod: CapturedPod) -> None:
    made, state = pod.made, mesh.folder / "state"
    key, known = read_key(FileStore(state, SIGNING_KEY_FILE).read_now() or b""), FileStore(state).read_now()
    assert known
    held = CredentialFiles(mesh.folder / f"{made.pod}-credentials")
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
        control_plane=XdsServer(addresses=(f"{mesh.node.ip}:15012",), credentials=held.files),
    )
    config = mesh.folder / f"{made.pod}.json"
    config.write_text(json.dumps(bootstrap(settings)))
    by = ("ip", "netns", "exec", pod.network, "setpriv", "--reuid=1337", "--regid=1337", "--clear-groups", envoy_binary())
    told = ("-c", str(config), "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning")
    pod.envoy = _started(stack, mesh.folder / f"{made.pod}.log", *by, *told)


def _started(stack: ExitStack, log: Path, *command: str) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, "POD_NAME": "navarch"}
        )
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def _is_ready() -> bool:
    try:
        with urllib.request.urlopen(f"http://{_ADMIN}/readyz", timeout=DEADLINE_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _synced() -> int:
    found = _get("/v1/proxies")
    assert isinstance(found, list)
    return sum(row["synced"] for row in found)


def _get(path: str) -> object:
    with urllib.request.urlopen(f"http://{_ADMIN}{path}", timeout=DEADLINE_S) as answer:
        found: object = json.loads(answer.read())
        return found
