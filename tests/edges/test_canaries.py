"""Keys and tokens are seen by nobody they are not for: not in logs of every detail, nor by the admin API, metrics, or any command."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import signal
import sys
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import grpc
import grpc.aio
from cryptography.hazmat.primitives.asymmetric import ec
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from controlplane.admin.route_access import ACCESS, EVENTS
from controlplane.app.identity import SIGNING_KEY_FILE
from controlplane.ca.certificates import key_pem
from controlplane.ca.file_store import FileStore
from controlplane.ca.rotation import load_state, read_key
from controlplane.ca.tokens import sign_token
from controlplane.envoy.type_urls import CDS, LDS, SDS
from controlplane.serve.identity import now
from tests.support import der
from tests.support.canaries import Canaries
from tests.support.control_plane import DeltaCall, _get, next_delta
from tests.support.csr_flood import asked, signing
from tests.support.grpc_methods import ending
from tests.support.manifests import selecting
from tests.support.secure_control_plane import asking, node, stream
from tests.support.waiting import until

HOUR = dt.timedelta(hours=1)
NEWLINE = "\n"
KINDS = ("listeners", "routes", "clusters", "endpoints", "virtualhosts", "secrets")
STATIC = ("--proxy", "sidecar~10.0.0.1~client.default~", "-o", "json")


class World:
    """A control plane in a process of its own, what it says, and what it must not say."""

    def __init__(self, folder: Path) -> None:
        self.manifests, self.state, self.log = folder / "manifests", folder / "state", folder / "log"
        self.manifests.mkdir()
        self.canaries = Canaries()
        self.seen = bytearray()  # by operators
        self.at: dict[str, str] = {}

    def read_keys(self) -> None:
        stored, tokens = FileStore(self.state).read_now(), FileStore(self.state, SIGNING_KEY_FILE).read_now()
        assert stored
        assert tokens
        for number, each in enumerate(load_state(stored).issuers):
            self.canaries.key(f"key of root {each.fingerprint[:8]}-{number}", key_pem(each.signer.key))
        self.canaries.key("key of tokens", tokens)

    def token(self, name: str, *, audience: str = "istio-ca", begins: dt.timedelta = dt.timedelta()) -> str:
        stored = FileStore(self.state, SIGNING_KEY_FILE).read_now()
        assert stored
        made = sign_token(read_key(stored), ("default", "client"), audience, now() + begins, HOUR)
        self.canaries.token(name, made)
        return made

    async def navarch(self, *arguments: str) -> None:
        """Run a command, whatever becomes of it, and keep what it says."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "controlplane.cli.main", *arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        self.seen += said

    async def get(self, path: str) -> int:
        status, body = await asyncio.to_thread(_get, f"http://{self.at['admin']}{path}", {})
        self.seen += body.encode()
        return status


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[World]:
    world = World(folder)
    (world.manifests / "a.yaml").write_text(selecting("reviews", "reviews"))
    addresses = [part for each in ("--xds", "--xds-tls", "--xds-mtls", "--admin") for part in (each, "127.0.0.1:0")]
    options = ("--files", str(world.manifests), "--state", str(world.state), "--log-level", "debug", "--log-format", "json", "-o", "json")
    with world.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "controlplane.cli.main", "serve", *options, *addresses), stdout=asyncio.subprocess.PIPE, stderr=log
        )
    try:
        assert process.stdout
        world.at = json.loads(await process.stdout.readline())
        await until(lambda: _ready(world))
        yield world
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def _ready(world: World) -> bool:
    return await world.get("/readyz") == 200


async def test_s46_t66_no_secret_is_seen_by_anybody_it_is_not_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as world:
        world.read_keys()
        await proxies(world)
        await wrong_credentials(world)
        await keys_in_the_wrong_place(world)
        for step in ("prepare", "activate", "retire"):
            await world.navarch("ca", step, "--state", str(world.state), "--offline")
            world.read_keys()
        state, files = ("--state", str(world.state)), ("-f", str(world.manifests))
        commands = (("ca", "show", "-o", "json", *state), ("ca", "root", *state), ("validate", *files), ("translate", *files, *STATIC))
        await asyncio.gather(*(world.navarch(*command) for command in commands))

    log = world.log.read_bytes()
    print(
        f"{len(world.canaries.forms)} secrets, {sum(map(len, world.canaries.forms.values()))} forms; {len(log)} bytes of log,"
        f" {len(world.seen)} of answers and output"
    )
    assert b"caller denied" in log
    assert b"request not signed" in log
    assert b"authority changed" in log or b"phase" in world.seen
    assert (world.canaries.seen(log), world.canaries.seen(bytes(world.seen))) == (set(), set())


async def proxies(world: World) -> None:
    """Let a proxy take its secrets, and refuse them; meanwhile look at everything that can be looked at."""
    roots = FileStore(world.state).read_now()
    assert roots
    credentials = grpc.ssl_channel_credentials(load_state(roots).bundle)
    async with stream(world.at["xds_tls"], credentials, token=world.token("token of a proxy")) as call:
        await call.write(asking(CDS, node()))
        await accept(call, CDS)
        await call.write(asking(SDS, None, "default", "ROOTCA"))
        secrets = await next_delta(call)
        for each in secrets.resources:
            key = Secret.FromString(each.resource.value).tls_certificate.private_key.inline_bytes
            if key:
                world.canaries.key("key of a proxy", key)
        assert "key of a proxy" in world.canaries.forms
        refusal = asking(SDS, nonce=secrets.nonce)
        refusal.error_detail.code, refusal.error_detail.message = 13, "no such field"
        await call.write(refusal)
        await call.write(asking(LDS))
        await accept(call, LDS)
        who = str(node()["id"])
        for path in ACCESS.keys() - {EVENTS}:  # which names pages, and does not end
            named = path.replace("{proxy_id}", who).replace("{name:path}", "default").replace("{number}", "1")
            for address in {named.replace("{kind}", kind) for kind in KINDS}:
                await world.get(address)
        assert b"ROOTCA" not in world.seen or b"BEGIN CERTIFICATE" not in world.seen


async def accept(call: DeltaCall, type_url: str) -> None:
    answer = await next_delta(call)
    while answer.type_url != type_url:
        answer = await next_delta(call)
    await call.write(asking(type_url, nonce=answer.nonce))


async def wrong_credentials(world: World) -> None:
    """Show tokens that are good for nothing here, but may be elsewhere."""
    stored = FileStore(world.state).read_now()
    assert stored
    credentials = grpc.ssl_channel_credentials(load_state(stored).bundle)
    wrong = {
        "token of another audience": world.token("token of another audience", audience="https://kubernetes.default.svc"),
        "token that has expired": world.token("token that has expired", begins=-2 * HOUR),
        "a password": "correct-horse-battery-staple-4711",
        "a token with a line": "correct-horse.battery=staple\\n-4712-0123456789",
    }
    for name, shown in wrong.items():
        world.canaries.secret(name, shown.encode())
        async with stream(world.at["xds_tls"], credentials, token=shown) as call:
            assert (await ending(call))[0] is grpc.StatusCode.UNAUTHENTICATED


async def keys_in_the_wrong_place(world: World) -> None:
    """Send a private key where a request is expected, and save one where manifests are."""
    stored = FileStore(world.state).read_now()
    assert stored
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key_pem(key)
    world.canaries.key("key of a workload", pem)
    credentials = grpc.ssl_channel_credentials(load_state(stored).bundle)
    async with grpc.aio.secure_channel(world.at["xds_tls"], credentials, (("grpc.ssl_target_name_override", "localhost"),)) as channel:
        shown = world.token("token of a workload")
        assert await asked(signing(channel), pem.decode(), shown) is grpc.StatusCode.INVALID_ARGUMENT
        assert await asked(signing(channel), der.request(key, []).decode(), shown) is grpc.StatusCode.OK
    (world.manifests / "state.json").write_bytes(stored)
    lines = "\n".join(f"    {line}" for line in pem.decode().splitlines())
    head = "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: default}\n"
    (world.manifests / "secret.yaml").write_text(f"{head}stringData:\n  tls.key: |\n{lines}\n")
    (world.manifests / "broken.yaml").write_text(f"{head}stringData:\n  tls.key: |\n{lines}\n  oops: [\n")
    rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: odd, namespace: default}\n"
    mode = f"spec:\n  host: odd\n  trafficPolicy:\n   tls:\n    mode: |\n  {lines.replace(NEWLINE, NEWLINE + '  ')}\n"
    (world.manifests / "odd.yaml").write_text(rule + mode)

    async def told() -> bool:
        await world.get("/v1/problems")
        return b"odd.yaml" in world.seen and b"broken.yaml" in world.seen

    await until(told)


def test_s46_a_secret_is_seen_in_whatever_form_it_gets_out() -> None:
    canaries, pem = Canaries(), key_pem(ec.generate_private_key(ec.SECP256R1()))
    canaries.key("a key", pem)
    raw = b64decode(b"".join(pem.splitlines()[1:-1]))

    for form in (pem, raw, b64encode(b"x" + pem + b"y"), raw.hex().encode(), quote(pem).encode(), json.dumps(pem.decode()).encode()):
        assert canaries.seen(b"before " + form + b" after") == {"a key"}
    assert canaries.seen(key_pem(ec.generate_private_key(ec.SECP256R1()))) == set()
