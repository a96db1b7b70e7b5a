"""A small API server in a thread of its own: lists in pages, watches that resume, definitions, preconditions; quick to start and to break.

What it does is held against a real one by running the same tests on both.
"""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import json
import re
import ssl
import threading
import urllib.request
from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.ca.certificates import authority, server_certificate
from tests.support.fakes.kube_store import DEFINITIONS, Answer, Json, Store, Target, merged, metadata_of
from tests.support.waiting import DEADLINE_S

TOKEN = "token-of-the-tests"
_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/status)?\Z"
)
_NAMESPACE = re.compile(r"/api/v1/namespaces(?:/(?P<name>[^/]+))?\Z")
_BOOKMARK_S = 0.5


class FakeApi:
    """The server: the same to a test as a real one."""

    def __init__(self, folder: Path) -> None:
        """Start it, with its files in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.token = TOKEN
        self.ca_file = folder / "ca.crt"
        self.store = Store()
        self.asked: list[tuple[str, str]] = []  # method and path of each request
        self._changed = asyncio.Event()
        self._port = 0
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._issue()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start_api()
        self.namespace("default")

    @property
    def url(self) -> str:
        """Return where it is."""
        return f"https://localhost:{self._port}"

    def kubeconfig(self) -> Path:
        """Return a kubeconfig of an administrator."""
        path = self.folder / "kubeconfig.json"
        value = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url, "certificate-authority": str(self.ca_file)}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "admin"}}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
        }
        path.write_text(json.dumps(value))
        return path

    def call(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> Json:
        """Return the answer; urllib.error.HTTPError where it refuses."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": content_type}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(request, timeout=DEADLINE_S, context=trust) as answer:
            found: Json = json.loads(answer.read() or b"{}")
            return found

    def namespace(self, name: str) -> str:
        """Make the namespace ``name`` where it is not there."""
        if ("", name) not in self.store.objects.get(("", "namespaces"), {}):
            self.call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return name

    def compact(self) -> None:
        """Forget the history, so that no watch can go on from an old version."""
        self.store.floor = self.store.revision + 1
        self.store.revision += 1

    def kill_api(self) -> None:
        """Stop listening and cut every connection; what is stored stays."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)

    def start_api(self) -> None:
        """Listen again, at the same port."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        """End it."""
        self.kill_api()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _listen(self) -> None:
        app = web.Application(client_max_size=8 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.crt", self.folder / "server.key")
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=context, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _issue(self) -> None:
        now, lifetime = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
        issuer = authority("fake", ec.generate_private_key(ec.SECP256R1()), now, lifetime)
        pair = server_certificate(issuer, ("localhost",), ec.generate_private_key(ec.SECP256R1()), now, lifetime)
        for name, content in (("ca.crt", issuer.pem), ("server.crt", pair.certificate), ("server.key", pair.key)):
            (self.folder / name).write_bytes(content)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path_qs))
        try:
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Answer(401, "Unauthorized")
            target = self._target(request.path)
            if request.method == "GET" and request.query.get("watch") == "true":
                return await self._watch(request, target)
            body: Json = await request.json() if request.can_read_body else {}
            found = getattr(self, f"_{request.method.lower()}")(target, body, request)
            self._changed.set()
            self._changed = asyncio.Event()
            return web.json_response(found, status=201 if request.method == "POST" else 200)
        except Answer as answer:
            return web.json_response(answer.status, status=answer.code)

    def _target(self, path: str) -> Target:
        if found := _NAMESPACE.match(path):
            return Target(("", "namespaces"), "v1", None, found["name"])
        if not (found := _PATH.match(path)):
            raise Answer(404, "NotFound")
        target = Target((found["group"] or "", found["plural"]), found["version"], found["namespace"], found["name"])
        if not self.store.serves(target):
            raise Answer(404, "NotFound")
        return target

    def _get(self, target: Target, _: Json, request: web.Request) -> Json:
        if target.name:
            return self._one(target)
        there = [each for _, each in sorted(self.store.objects.get(target.collection, {}).items()) if target.holds(each, request.query)]
        revision, start = self.store.revision, 0
        if token := request.query.get("continue"):
            revision, start = (int(part) for part in token.split("-"))
            if revision < self.store.floor:
                raise Answer(410, "Expired")
        limit = int(request.query.get("limit", len(there) or 1))
        metadata: Json = {"resourceVersion": str(revision)}
        if start + limit < len(there):
            metadata["continue"] = f"{revision}-{start + limit}"
        return {"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": there[start : start + limit]}

    def _one(self, target: Target) -> Json:
        found = self.store.objects.get(target.collection, {}).get((target.namespace or "", target.name or ""))
        if found is None:
            raise Answer(404, "NotFound")
        return found

    def _post(self, target: Target, body: Json, _: web.Request) -> Json:
        metadata = metadata_of(body)
        if target.namespace:
            metadata["namespace"] = target.namespace
        if (str(metadata.get("namespace", "")), str(metadata["name"])) in self.store.objects.get(target.collection, {}):
            raise Answer(409, "AlreadyExists")
        metadata |= {"uid": f"uid-{next(self.store.numbers)}", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
        if target.collection == DEFINITIONS:
            body["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
        return self.store.put(target.collection, body, "ADDED")

    def _put(self, target: Target, body: Json, _: web.Request) -> Json:
        old, metadata = self._one(target), metadata_of(body)
        if metadata.get("resourceVersion") not in (None, "", metadata_of(old)["resourceVersion"]):
            raise Answer(409, "Conflict")
        kept = {name: metadata_of(old)[name] for name in ("uid", "creationTimestamp", "generation")}
        body["metadata"] = {**metadata, **kept}
        return self._changed_to(target, old, body)

    def _patch(self, target: Target, body: Json, _: web.Request) -> Json:
        old = self._one(target)
        wanted = body.get("metadata")
        if isinstance(wanted, dict) and wanted.get("resourceVersion") not in (None, metadata_of(old)["resourceVersion"]):
            raise Answer(409, "Conflict")
        return self._changed_to(target, old, merged(old, body))

    def _changed_to(self, target: Target, old: Json, new: Json) -> Json:
        if new == old:
            return old
        if new.get("spec") != old.get("spec"):
            generation = metadata_of(new)["generation"]
            assert isinstance(generation, int)
            metadata_of(new)["generation"] = generation + 1
        return self.store.put(target.collection, new, "MODIFIED")

    def _delete(self, target: Target, _: Json, __: web.Request) -> Json:
        found = copy.deepcopy(self._one(target))
        self.store.put(target.collection, found, "DELETED")
        if target.collection == DEFINITIONS:
            plural, group = str(metadata_of(found)["name"]).split(".", 1)
            for each in tuple(self.store.objects.get((group, plural), {}).values()):
                self.store.put((group, plural), copy.deepcopy(each), "DELETED")
        return {"kind": "Status", "status": "Success"}

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        at = int(request.query["resourceVersion"])
        ends = asyncio.get_running_loop().time() + float(request.query.get("timeoutSeconds", "60"))
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        if at < self.store.floor - 1:
            await response.write(_line("ERROR", Answer(410, "Expired").status))
            return response
        while asyncio.get_running_loop().time() < ends and self.store.serves(target):
            news = [each for each in self.store.events if each.revision > at and each.collection == target.collection]
            lines = [_line(each.kind, each.value) for each in news if target.holds(each.value, request.query)]
            at = self.store.revision
            changed = self._changed
            await response.write(b"".join(lines) or _line("BOOKMARK", {"metadata": {"resourceVersion": str(at)}}))
            try:
                async with asyncio.timeout(_BOOKMARK_S):
                    await changed.wait()
            except TimeoutError:
                continue
        return response


def _line(kind: str, value: Json) -> bytes:
    return json.dumps({"type": kind, "object": value}).encode() + b"\n"
