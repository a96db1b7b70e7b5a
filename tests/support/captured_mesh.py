"""A mesh whose connections are captured: pods with rules of iptables and an Envoy each, and servers outside of them that count what comes.

Pods get the rules that ``navarch iptables`` sets. What is not of the mesh stands in one more namespace, which has every address that a
server is given there. All are on one bridge and find each other without a router, and ``navarch serve`` runs beside them. What a test sees
is who has answered.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.model.proxies import ProxyType
from tests.support import network_namespaces as namespaces
from tests.support.application import Application
from tests.support.captured_pods import CapturedPod, Workload, captured_pod, manifest, start_envoy, started, started_worker
from tests.support.certificates import Authority, write_files
from tests.support.cluster import tail
from tests.support.node import Node, node
from tests.support.processes import passable
from tests.support.waiting import DEADLINE_S, wait_until

OUTSIDE = "outside"
_ADMIN = "127.0.0.1:15014"
_NAVARCH = (sys.executable, "-m", "controlplane.cli.main")


@dataclass(frozen=True, slots=True)
class Server:
    """A server to have at ``port`` of ``host``, a pod or an address outside; where there are ``names``, it shows a certificate for them."""

    who: str
    host: str
    port: int
    protocol: str = "tcp"
    names: tuple[str, ...] = ()


@dataclass
class CapturedMesh:
    """What runs."""

    node: Node
    folder: Path
    outside: Application
    pods: dict[str, CapturedPod] = field(default_factory=dict)

    @property
    def plane(self) -> str:
        """Return where proxies find the control plane."""
        return f"{self.node.ip}:15012"

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
        """Return object and field of each Problem that takes something away."""
        found = _get("/v1/problems")
        assert isinstance(found, list)
        return [(str(each["object"]), str(each["field"])) for each in found if each["severity"] != "info"]

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
        mesh = CapturedMesh(here, folder, Application(started_worker(stack, network)))
        _address_outside(network, [each.host for each in servers if "." in each.host or ":" in each.host])
        for each in workloads:
            mesh.pods[each.pod] = captured_pod(stack, here, each)
        _write(mesh, manifests)
        plane = _serve(stack, mesh, options)
        _capture(mesh)
        _listen(mesh, servers)
        try:
            wait_until(_is_ready, "the control plane is ready")
            for pod in mesh.pods.values():
                start_envoy(stack, pod, folder, mesh.plane)
            wait_until(lambda: all(pod.ready for pod in mesh.pods.values()), "the Envoys are ready")
            wait_until(lambda: _synced() == len(mesh.pods), "the Envoys have accepted all")
            yield mesh
        except BaseException:
            assert plane.poll() is None, tail(folder / "plane.log")
            for name in ("plane", *mesh.pods):
                print(f"--- {name}", tail(folder / f"{name}.log"), sep="\n")
            raise


def _address_outside(network: str, addresses: Sequence[str]) -> None:
    lines = [f"addr add {each}/128 dev eth0 nodad" if ":" in each else f"addr add {each}/32 dev eth0" for each in dict.fromkeys(addresses)]
    namespaces.batch(network, ["link set eth0 addrgenmode none", *lines, "route add ::/0 dev eth0"])


def _write(mesh: CapturedMesh, manifests: str) -> None:
    for name, pod in mesh.pods.items():
        manifests = manifests.replace(f"<{name}>", pod.ip)
    manifests = manifests.replace("<ca>", str(mesh.folder / "servers" / "ca.crt"))
    (mesh.folder / "manifests").mkdir()
    (mesh.folder / "manifests" / "pods.yaml").write_text("\n---\n".join(json.dumps(manifest(pod)) for pod in mesh.pods.values()))
    (mesh.folder / "manifests" / "all.yaml").write_text(manifests)


def _serve(stack: ExitStack, mesh: CapturedMesh, options: Sequence[str]) -> subprocess.Popen[bytes]:
    where = ("--files", str(mesh.folder / "manifests"), "--state", str(mesh.folder / "state"), "--admin", _ADMIN)
    return started(stack, mesh.folder / "plane.log", *_NAVARCH, "serve", *where, "--xds-tls", mesh.plane, *options)


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
