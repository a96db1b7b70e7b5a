"""A mesh as a cluster has it: pods that the webhook injects, on a node of their own, with the control plane beside them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from controlplane.untyped import Json, items, number, section, text
from tests.support import containers
from tests.support import network_namespaces as namespaces
from tests.support.cluster import Cluster, tail
from tests.support.crd_definitions import define_all
from tests.support.kube_binaries import kubectl
from tests.support.kubelet import Kubelet
from tests.support.node import Node, node
from tests.support.processes import passable
from tests.support.rendered_manifests import ROOT, rendered
from tests.support.waiting import DEADLINE_S, wait_until

HOME, SHOP = "navarch-system", "shop"
NAME = "navarch.navarch-system.svc"
ADMIN = "127.0.0.1:15014"
_WEBHOOK = "127.0.0.1:15017"
_SERVICES = {f"10.96.7.{number}": name for number, name in enumerate(("productpage", "details", "reviews", "ratings", "client", "web"), 1)}
_HERE = Path(__file__).parent


@dataclass
class Mesh:
    """What runs, and how a test asks it."""

    node: Node
    cluster: Cluster
    kubelet: Kubelet
    folder: Path
    plane: subprocess.Popen[bytes] | None = field(default=None)

    def start_plane(self) -> None:
        """Start the control plane."""
        where = ("--xds", "127.0.0.1:15010", "--admin", ADMIN, "--xds-tls", f"{self.node.ip}:15012", "--webhook", _WEBHOOK, "--name", NAME)
        command = [
            sys.executable,
            "-m",
            "tests.support.fast_settle",
            "serve",
            "--kubernetes",
            "--replica",
            "--kubeconfig",
            str(self.cluster.kubeconfig()),
        ]
        environment = {**os.environ, "POD_NAME": "navarch", "POD_NAMESPACE": HOME}
        with (self.folder / "plane.log").open("ab") as log:
            self.plane = subprocess.Popen([*command, *where], env=environment, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: status(f"http://{ADMIN}/readyz") == 200, "the control plane is ready")

    def kill_plane(self) -> None:
        """Kill the control plane."""
        if self.plane is not None:
            self.plane.kill()
            self.plane.wait()
            self.plane = None

    def apply(self, manifests: str, namespace: str = SHOP) -> str:
        """Apply ``manifests`` by kubectl."""
        return self.cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=manifests)

    def delete(self, *names: str) -> None:
        """Delete objects by kubectl, and wait until they are gone."""
        self.cluster.kubectl("-n", SHOP, "delete", *names, "--wait", "--ignore-not-found")

    def pods(self) -> dict[str, Json]:
        """Return the pods, by name."""
        found = self.cluster.call("GET", f"/api/v1/namespaces/{SHOP}/pods")
        return {text(section(each, "metadata"), "name"): each for each in items(found)}

    def ip(self, pod: str) -> str:
        """Return the address of ``pod``, once it runs: another may be taking its place just now."""
        wait_until(lambda: (SHOP, pod) in self.kubelet.pods, f"{pod} runs, with {self.kubelet.trouble or 'no trouble'}")
        return self.kubelet.pod(SHOP, pod).ip

    def until_ready(self, *names: str) -> None:
        """Wait until the pods ``names``, or all there are, are ready."""

        def so() -> bool:
            assert not self.kubelet.trouble, self.kubelet.trouble
            found = self.pods()
            return all(name in found and is_ready(found[name]) for name in names or found)

        wait_until(so, f"{names or 'pods'} are ready")

    def ask(self, url: str, pod: str = "client", **headers: str) -> Json:
        """Return what ``pod`` gets from ``url``: it is told by a port that is not intercepted."""
        query = urllib.parse.urlencode(
            {"url": url, "headers": json.dumps({name.replace("_", "-"): value for name, value in headers.items()})}
        )
        return get(f"http://{self.ip(pod)}:9999/ask?{query}")

    def until_answered(self, *urls: str) -> None:
        """Wait until the client's pod gets 200 from ``urls``: a pod's endpoint reaches other proxies after the pod is ready."""
        wait_until(lambda: all(self.ask(url)["status"] == 200 for url in urls), f"{urls} are answered")

    def load(self, url: str, rate: float) -> Json:
        """Return what came of asking ``url`` at a steady ``rate`` from the client's pod, until it is ``enough``."""
        query = urllib.parse.urlencode({"url": url, "rate": rate})
        return get(f"http://{self.ip('client')}:9999/load?{query}", 900)

    def enough(self) -> None:
        """End the load."""
        get(f"http://{self.ip('client')}:9999/enough")

    def connected(self) -> set[str]:
        """Return the pods whose proxies are connected, by token."""
        with urllib.request.urlopen(f"http://{ADMIN}/v1/proxies", timeout=DEADLINE_S) as answer:
            return {each["id"].split("~")[2].partition(".")[0] for each in json.loads(answer.read()) if each["identity"]}

    def roots(self, pod: str) -> set[str]:
        """Return the serial numbers of the authorities that the Envoy of ``pod`` trusts."""
        found = items(section(self.ask("http://127.0.0.1:15000/certs", pod), "said"), "certificates")
        return {text(authority, "serial_number") for each in found for authority in items(each, "ca_cert")}

    def counter(self, pod: str, cluster: str, name: str) -> int:
        """Return the counter ``name`` of ``cluster`` in the Envoy of ``pod``, 0 where it has not begun."""
        wanted = urllib.parse.quote(rf"^cluster\.{re.escape(cluster)};?\.{name}$")
        said = self.ask(f"http://127.0.0.1:15000/stats?format=json&filter={wanted}", pod)
        found = [each for each in items(section(said, "said"), "stats") if "value" in each]
        return number(found[0], "value") if found else 0


@contextmanager
def mesh(folder: Path) -> Iterator[Mesh]:
    """Yield a mesh with bookinfo's pods in it, ready."""
    namespaces.needed()
    containers.needed()
    kubectl()
    passable(folder)
    with ExitStack() as stack:
        here = stack.enter_context(node())
        cluster = Cluster(folder / "cluster")
        stack.callback(cluster.stop)
        define_all(cluster, ROOT / "manifests" / "crds")
        for name in (HOME, SHOP):
            cluster.namespace(name)
        kubelet = Kubelet(cluster, here, folder / "pods", {**_SERVICES, here.ip: NAME})
        made = Mesh(here, cluster, kubelet, folder)
        stack.callback(made.kill_plane)
        made.start_plane()
        _register(made)
        cluster.kubectl("label", "namespace", SHOP, "istio-injection=enabled")
        stack.enter_context(kubelet.running())
        try:
            made.apply((_HERE / "bookinfo.yaml").read_text())
            made.until_ready()
            made.until_answered(
                *(f"http://{service}:9080/health" for service in ("client", "productpage", "details", "reviews", "ratings"))
            )
        except BaseException:
            print(tail(folder / "plane.log"))
            raise
        yield made


def _register(made: Mesh) -> None:
    """Have the API server ask the control plane at this machine's own address, and wait until it does so."""
    [configuration] = [each for each in rendered("base") if each.get("kind") == "MutatingWebhookConfiguration"]
    for each in items(configuration, "webhooks"):
        service = section(section(each, "clientConfig"), "service")
        each["clientConfig"] = {"url": f"https://localhost:15017{text(service, 'path')}"}
    made.cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(dict(configuration)))
    path = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{text(section(configuration, 'metadata'), 'name')}"

    def known() -> bool:
        found = made.cluster.call("GET", path)
        return all(text(section(each, "clientConfig"), "caBundle") for each in items(found, "webhooks"))

    wait_until(known, "the webhook is registered")


def is_ready(pod: Json) -> bool:
    """Say whether ``pod`` is ready."""
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in items(section(pod, "status"), "conditions"))


def status(url: str) -> int:
    """Return the status of a GET of ``url``, 0 where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def get(url: str, seconds: float = 60) -> Json:
    """Return the JSON at ``url``."""
    with urllib.request.urlopen(url, timeout=seconds) as answer:
        found: Json = json.loads(answer.read())
        return found
