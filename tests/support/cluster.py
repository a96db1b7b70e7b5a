"""A real Kubernetes API on this machine: etcd, kube-apiserver and kube-controller-manager as processes; there is no kubelet."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.kube_binaries import kubectl, needed
from tests.support.waiting import DEADLINE_S

ADMIN_TOKEN = "admin-of-the-tests"
_READY_S = 300.0
_AUDIT = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n"


class Cluster:
    """One API server with its store; every file of it is below ``folder``."""

    def __init__(self, folder: Path, *, controllers: bool = True) -> None:
        """Start it; ready when this returns."""
        self.folder = folder
        self.token = ADMIN_TOKEN
        self.ca_file = folder / "certs" / "apiserver.crt"
        self.audit = folder / "audit.log"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = dict(zip(("etcd", "peer", "api", "controllers"), _free_ports(4), strict=True))
        self.url = f"https://127.0.0.1:{self._ports['api']}"
        self._controllers = controllers
        self._prepare()
        self._start_etcd()
        self.start_api()
        if controllers:
            self._start_controllers()

    @property
    def etcd_url(self) -> str:
        """Return where etcd listens."""
        return f"http://127.0.0.1:{self._ports['etcd']}"

    def kubeconfig(self) -> Path:
        """Return a kubeconfig of an administrator."""
        return self._kubeconfig("admin", ADMIN_TOKEN)

    def account(self, namespace: str, name: str) -> Path:
        """Return a kubeconfig by which its reader is that ServiceAccount, by a token that the API server has signed."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 36000}}
        answer = self.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", body)
        status = answer["status"]
        assert isinstance(status, dict)
        return self._kubeconfig(f"{namespace}-{name}", str(status["token"]))

    def call(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> dict[str, object]:
        """Return the API server's answer; urllib.error.HTTPError where it refuses."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": content_type}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=300, context=self._trust()) as answer:
            found: dict[str, object] = json.loads(answer.read() or b"{}")
            return found

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Return what kubectl prints, as an administrator."""
        command = [kubectl(), "--kubeconfig", str(self.kubeconfig()), *arguments]
        ran = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=300, check=False)
        assert not check or ran.returncode == 0, f"kubectl {arguments}: {ran.stdout}{ran.stderr}"
        return ran.stdout + ran.stderr

    def namespace(self, name: str) -> str:
        """Make the namespace ``name`` where it is not there."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        try:
            self.call("POST", "/api/v1/namespaces", body)
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise
        return name

    def kill_api(self) -> None:
        """Kill the API server as a crash would."""
        self._end("kube-apiserver", signal.SIGKILL)

    def pause_api(self) -> None:
        """Let the API server stop answering, with its connections left open."""
        self._processes["kube-apiserver"].send_signal(signal.SIGSTOP)

    def resume_api(self) -> None:
        """Let the API server answer again."""
        self._processes["kube-apiserver"].send_signal(signal.SIGCONT)

    def start_api(self) -> None:
        """Start the API server, and wait until it is ready."""
        certs = self.folder / "certs"
        options = {
            "etcd-servers": self.etcd_url,
            "cert-dir": certs,
            "secure-port": self._ports["api"],
            "bind-address": "127.0.0.1",
            "service-account-key-file": self.folder / "accounts.pub",
            "service-account-signing-key-file": self.folder / "accounts.key",
            "service-account-issuer": "https://kubernetes.default.svc",
            "token-auth-file": self.folder / "tokens.csv",
            "authorization-mode": "RBAC",
            "service-cluster-ip-range": "10.96.0.0/12,fd00:10:96::/112",
            "allow-privileged": "true",
            "disable-admission-plugins": "ServiceAccount",
            "audit-policy-file": self.folder / "audit.yaml",
            "audit-log-path": self.audit,
            "audit-log-mode": "blocking",
            "v": "0",
        }
        self._start("kube-apiserver", options)
        self._wait("kube-apiserver", self._api_ready)

    def compact(self) -> None:
        """Throw the history of etcd away, so that no watch can go on from an old version."""
        header = self._etcd("/v3/kv/range", {"key": "AA=="})["header"]
        assert isinstance(header, dict)
        self._etcd("/v3/kv/compaction", {"revision": header["revision"], "physical": True})

    def stop(self) -> None:
        """End every process."""
        for name in ("kube-controller-manager", "kube-apiserver", "etcd"):
            self._end(name, signal.SIGKILL)

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "audit.yaml").write_text(_AUDIT)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        (self.folder / "accounts.key").write_bytes(private)
        public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        (self.folder / "accounts.pub").write_bytes(public)
        with (self.folder / "tokens.csv").open("w", newline="") as file:
            csv.writer(file).writerow([ADMIN_TOKEN, "admin", "admin", "system:masters"])

    def _kubeconfig(self, user: str, token: str) -> Path:
        path = self.folder / f"kubeconfig-{user}.yaml"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": {"server": self.url, "certificate-authority": str(self.ca_file)}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": user}}],
            "users": [{"name": user, "user": {"token": token}}],
        }
        text = json.dumps(content)
        if not path.exists() or path.read_text() != text:  # whoever reads it now sees it whole
            part = path.with_suffix(f".{threading.get_ident()}")
            part.touch(0o600)
            part.write_text(text)
            part.rename(path)
        return path

    def _start_etcd(self) -> None:
        peer = f"http://127.0.0.1:{self._ports['peer']}"
        options = {
            "data-dir": self.folder / "etcd",
            "listen-client-urls": self.etcd_url,
            "advertise-client-urls": self.etcd_url,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "unsafe-no-fsync": "true",
            "log-level": "error",
        }
        self._start("etcd", options)
        self._wait("etcd", self._etcd_ready)

    def _start_controllers(self) -> None:
        options = {
            "kubeconfig": self.kubeconfig(),
            "service-account-private-key-file": self.folder / "accounts.key",
            "root-ca-file": self.ca_file,
            "secure-port": 0,
            "leader-elect": "false",
            "use-service-account-credentials": "false",
            "controllers": "*,-nodelifecycle,-nodeipam,-route,-service-lb-controller",
            "concurrent-gc-syncs": 2,
            "endpointslice-updates-batch-period": "0s",
        }
        self._start("kube-controller-manager", options)

    def _start(self, name: str, options: dict[str, object]) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        command = [str(needed(name)), *(f"--{option}={value}" for option, value in options.items())]
        self._processes[name] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.folder
        )
        log.close()

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_S
        while not ready():
            if self._processes[name].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start:\n{(self.folder / f'{name}.log').read_text()[-4000:]}")
            time.sleep(0.05)

    def _end(self, name: str, number: signal.Signals) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            process.send_signal(number)
            process.wait(timeout=DEADLINE_S)

    def _api_ready(self) -> bool:
        try:
            request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
            with urllib.request.urlopen(request, timeout=DEADLINE_S, context=self._trust()) as answer:
                return bool(answer.status == 200)
        except (OSError, ssl.SSLError):
            return False

    def _etcd_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.etcd_url}/health", timeout=DEADLINE_S) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _etcd(self, path: str, body: object) -> dict[str, object]:
        request = urllib.request.Request(self.etcd_url + path, json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            found: dict[str, object] = json.loads(answer.read())
            return found

    def _trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.check_hostname = False
        return context


def _free_ports(count: int) -> Iterable[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def tail(path: Path, size: int = 2000) -> str:
    """Return the end of the file ``path``."""
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - size))
        return file.read().decode(errors="replace")
