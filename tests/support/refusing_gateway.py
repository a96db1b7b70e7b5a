"""A gateway in a real Envoy that is given what it refuses, and what it answers meanwhile for those beside it.

What no check of a control plane can find makes it refuse, a type of resource each: a listener at an address of another machine, a cluster
whose authority is in a file that is not there, an expression that is too long for an Envoy that has not said what it takes, an RSA key
with an exponent that its library does not know, and an endpoint by IPv6 on a machine that has none.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import ssl
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from math import gcd
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from controlplane.bootstrap.bootstrap import BootstrapNode, BootstrapSettings, bootstrap
from controlplane.bootstrap.xds_cluster import XdsServer
from controlplane.ca.certificates import CertificateAndKey
from controlplane.model.proxies import ProxyType
from tests.support import without_ipv6
from tests.support.envoys import ADMIN_PORT, CredentialFiles
from tests.support.manifests import document
from tests.support.processes import Process, free_network, start
from tests.support.secure_control_plane import Secure, secure
from tests.support.tls_secrets import DAY, pair, secret
from tests.support.waiting import DEADLINE_S, until

NAMES = ("one", "two", "three")
HTTP, HTTPS, BEHIND = 8080, 8443, 8000
_GATEWAYS = ("front", *(f"secret-{name}" for name in NAMES))
_ALL = {"prefix": "/"}
_LONG = {"regex": "/(aaaa|bbbb|cccc){1,30}"}  # more instructions than an Envoy takes that nobody has told otherwise: 100
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class RefusingGateway:
    """The gateway, the folder that it is configured by, and what it has answered."""

    def __init__(self, plane: Secure, folder: Path, network: str) -> None:
        self.plane = plane
        self.network = network
        self.ip = f"{network}.31"
        self._folder = folder
        self._trusted = ssl.create_default_context()
        self._trusted.check_hostname, self._trusted.verify_mode = False, ssl.CERT_NONE
        self.answers: dict[str, list[tuple[int, str]]] = defaultdict(list)  # by URL: status, and which edit

    def write(self, name: str, text: str) -> None:
        """Let ``text`` be all that the file ``name`` says."""
        draft = self._folder / f"{name}.yaml~"
        draft.write_text(text)
        draft.rename(self._folder / f"{name}.yaml")

    def route(self, name: str, edit: int, match: Mapping[str, str] = _ALL) -> None:
        """Write the rule of ``name``, whose answers say which ``edit`` made it."""
        http = {
            "match": [{"uri": match}],
            "headers": {"response": {"set": {"x-edit": str(edit)}}},
            "route": [{"destination": {"host": f"{name}.behind"}}],
        }
        self.write(f"route-{name}", document("VirtualService", name, hosts=[f"{name}.example"], gateways=_GATEWAYS, http=[http]))

    def begin(self) -> None:
        """Write what is good."""
        self.write("front", gateway("front", HTTP, self.ip, "*"))
        for name in NAMES:
            tls = {"mode": "SIMPLE", "credentialName": name}
            self.write(f"secret-{name}", gateway(f"secret-{name}", HTTPS, self.ip, f"{name}.example", tls))
            self.route(name, 1)
        self.mend()

    def mend(self) -> None:
        """Write what is good in the place of everything that is not."""
        for name in NAMES:
            self.write(f"service-{name}", service(name, f"{self.network}.41"))
            self.write(f"credential-{name}", json.dumps(secret(pair(f"{name}.example"), name, "default")))
        self.write("listener", "")
        self.write("authority", "")

    def spoil(self, kind: str) -> None:
        """Write something of ``two`` that the gateway refuses: a resource of ``kind``."""
        match kind:
            case "Listener":
                self.write("listener", gateway("two", 8081, "203.0.113.77", "*"))
            case "Cluster":
                tls = {"mode": "SIMPLE", "sni": "a.example", "caCertificates": "/nowhere/authority.pem"}
                self.write("authority", document("DestinationRule", "two", host="two.behind", trafficPolicy={"tls": tls}))
            case "ClusterLoadAssignment":
                self.write("service-two", service("two", f"{self.network}.41", "2001:db8::41"))
            case "Secret":
                self.write("credential-two", json.dumps(secret(_unknown_exponent("two.example"), "two", "default")))
            case _:
                self.route("two", 1, _LONG)

    async def ask(self, url: str) -> tuple[int, str]:
        """Return status and edit of the answer to ``url``; 0 where there is none."""
        scheme, _, host = url.partition("://")
        async with httpx.AsyncClient(verify=self._trusted, timeout=DEADLINE_S) as client:
            at = f"{scheme}://{self.ip}:{HTTPS if scheme == 'https' else HTTP}/"
            try:
                answer = await client.get(at, headers={"host": host}, extensions={"sni_hostname": host})
            except httpx.TransportError:
                return 0, ""
        return answer.status_code, answer.headers.get("x-edit", "")

    async def ask_on(self) -> None:
        """Ask for everything again and again, until cancelled."""
        while True:
            for url in URLS:
                self.answers[url].append(await self.ask(url))
            await asyncio.sleep(0.02)  # the rate of requests

    async def refused(self) -> list[Mapping[str, object]]:
        """Return the Problems of what proxies refuse."""
        rows = await self.plane.running.json("/v1/problems")
        assert isinstance(rows, list)
        return [row for row in rows if row["code"] == "Refused"]

    def failed(self) -> dict[str, int]:
        """Return how many requests failed, by name of whose they were."""
        count: Counter[str] = Counter()
        for url, answers in self.answers.items():
            count[url.partition("://")[2].partition(".")[0]] += sum(status != 200 for status, _ in answers)
        return dict(count)


URLS = tuple(f"{scheme}://{name}.example" for scheme in ("http", "https") for name in NAMES)


@contextlib.asynccontextmanager
async def refusing_gateway(folder: Path, *, delta: bool, binary: str) -> AsyncIterator[RefusingGateway]:
    """Yield a gateway that serves, in one of the protocols, the Envoy ``binary``; end everything with the block."""
    manifests = folder / "manifests"
    manifests.mkdir()
    network = free_network((HTTP, HTTPS, BEHIND, ADMIN_PORT))
    async with contextlib.AsyncExitStack() as stack:
        plane = await stack.enter_async_context(secure(manifests))
        await stack.enter_async_context(await asyncio.start_server(_answer, f"{network}.41", BEHIND))
        found = RefusingGateway(plane, manifests, network)
        found.begin()
        envoy = await _started(plane, folder, found.ip, delta=delta, binary=binary)
        stack.push_async_callback(envoy.stop)

        async def served() -> bool:
            return [await found.ask(url) for url in URLS] == [(200, "1")] * len(URLS)

        await until(served, "the gateway serves", watched=envoy)
        yield found


async def _started(plane: Secure, folder: Path, ip: str, *, delta: bool, binary: str) -> Process:
    """Start the gateway's Envoy by our bootstrap, but for what that says of expressions."""
    credentials = CredentialFiles(folder / "credentials")
    credentials.write(token=plane.token("default", "front"), roots=plane.roots.decode())
    assert plane.running.at.xds_tls
    settings = BootstrapSettings(
        node=BootstrapNode(
            name="front-1", namespace="default", ip=ip, service_account="front", labels=(("app", "front"),), type=ProxyType.ROUTER
        ),
        control_plane=XdsServer(addresses=(plane.running.at.xds_tls,), credentials=credentials.files, delta=delta),
        admin=f"{ip}:{ADMIN_PORT}",
        status=None,
    )
    config = bootstrap(settings)
    del config["layered_runtime"]
    (folder / "front.json").write_text(json.dumps(config))
    on_ipv4 = [sys.executable, without_ipv6.__file__]
    command = [*on_ipv4, binary, "-c", str(folder / "front.json"), "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning"]
    return await start("front", command, folder)


def _unknown_exponent(name: str) -> CertificateAndKey:
    """Return a certificate for ``name`` with an RSA key whose exponent has more bits than BoringSSL reads."""
    made = rsa.generate_private_key(65537, 2048).private_numbers()
    order, exponent = (made.p - 1) * (made.q - 1), 2**34 + 1
    while gcd(exponent, order) != 1:
        exponent += 2
    private = pow(exponent, -1, order)
    parts = rsa.rsa_crt_dmp1(private, made.p), rsa.rsa_crt_dmq1(private, made.q), made.iqmp
    key = rsa.RSAPrivateNumbers(made.p, made.q, private, *parts, rsa.RSAPublicNumbers(exponent, made.p * made.q)).private_key()
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now - DAY, now + DAY)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    written = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return CertificateAndKey(certificate, written)


def gateway(name: str, port: int, bind: str, host: str, tls: Mapping[str, str] | None = None) -> str:
    """Return a Gateway with one server."""
    server = {"port": {"number": port, "name": f"p-{name}", "protocol": "HTTPS" if tls else "HTTP"}, "bind": bind, "hosts": [host]}
    return document("Gateway", name, selector={"app": "front"}, servers=[{**server, **({"tls": tls} if tls else {})}])


def service(name: str, *ips: str) -> str:
    """Return a service with an instance at each of ``ips``."""
    ports = [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": BEHIND}]
    return document(
        "ServiceEntry", name, hosts=[f"{name}.behind"], ports=ports, resolution="STATIC", endpoints=[{"address": ip} for ip in ips]
    )


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_ANSWER)
    writer.close()
