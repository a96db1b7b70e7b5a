"""Where the demo's manifests are kept: a folder that is saved into, or a namespace of a Kubernetes API server, by ``kubectl apply``."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from controlplane.app.identity import SIGNING_KEY_FILE
from controlplane.ca.file_store import FileStore as Secrets
from controlplane.ca.manager import stored_key
from controlplane.ca.rotation import load_state
from controlplane.ca.tokens import AUDIENCE, sign_token
from controlplane.demo.processes import NotReady
from controlplane.model.keys import NETWORKING
from controlplane.objects.reading.documents import documents
from controlplane.serve.identity import make_key, now
from controlplane.untyped import Json, items, section, text

NAMESPACE = "navarch-demo"
_NEEDED = ("virtualservices", "destinationrules", "sidecars", "workloadentries", "gateways")
_PATIENCE_S = 30.0
_TOKEN_LIFETIME = dt.timedelta(hours=1)


class Saved(NamedTuple):
    """When something was saved, in seconds since the epoch: before it could have any effect, and when it was done."""

    begun: float
    done: float


class ManifestStore(Protocol):
    """Where manifests are kept."""

    @property
    def namespace(self) -> str:
        """Return where the objects of the story are."""

    @property
    def done(self) -> str:
        """Return what it is called when something has been saved."""

    def serve(self, replica: str) -> Sequence[str]:
        """Return the options by which the control plane ``replica`` reads it."""

    async def open(self) -> None:
        """Prepare it. Raises NotReady."""

    async def token(self, account: str) -> str:
        """Return a token of the service account ``account``."""

    async def may_have_secrets(self, account: str) -> None:
        """Let proxies of the service account ``account`` have certificates that are in Secrets."""

    async def roots(self) -> str:
        """Return the roots that everybody is to trust, as PEM."""

    async def save(self, name: str, text: str) -> Saved:
        """Let ``text`` be all that the manifest ``name`` says. Raises NotReady where it is refused."""

    async def close(self) -> None:
        """Leave nothing behind."""


class FolderManifests:
    """A folder of YAML files."""

    namespace = "default"
    done = "the save"

    def __init__(self, folder: Path) -> None:
        """Keep manifests in ``folder``, which is made."""
        folder.mkdir()
        self.folder = folder
        self.state = folder.with_name(f"{folder.name}-state")

    def serve(self, replica: str) -> Sequence[str]:
        """Return the options by which the control plane ``replica`` reads it: all of them alike."""
        del replica
        return ("--files", str(self.folder), "--state", str(self.state))

    async def token(self, account: str) -> str:
        """Return a token that is signed by the control plane's key."""
        key = await stored_key(Secrets(self.state, SIGNING_KEY_FILE), make_key)
        return sign_token(key, (self.namespace, account), AUDIENCE, now(), _TOKEN_LIFETIME)

    async def may_have_secrets(self, account: str) -> None:
        """Do nothing: what is in the folder, proxies of its namespace may have."""

    async def roots(self) -> str:
        """Return the roots of the authority in its folder."""
        stored = await Secrets(self.state).read()
        if stored is None:
            raise NotReady("the control plane has not begun its authority")
        return load_state(stored).bundle.decode()

    async def open(self) -> None:
        """Do nothing: it is there."""

    async def save(self, name: str, text: str) -> Saved:
        """Save the file as an editor does: whole, by renaming; one that says nothing is deleted."""
        target = self.folder / f"{name}.yaml"
        if not text:
            target.unlink(missing_ok=True)
            return Saved(time.time(), time.time())
        draft = target.with_suffix(".yaml~")
        draft.write_text(text)
        saved = time.time()
        draft.rename(target)
        return Saved(saved, saved)

    async def close(self) -> None:
        """Do nothing: the folder goes with what is around it."""


class ClusterManifests:
    """A namespace of its own at an API server."""

    namespace = NAMESPACE
    done = "kubectl's return"

    def __init__(self, kubeconfig: str | None, context: str | None) -> None:
        """Speak to the API server of ``kubeconfig`` and ``context``; neither: where kubectl speaks to."""
        chosen = {"--kubeconfig": kubeconfig, "--context": context}
        self._options = [part for option, value in chosen.items() if value for part in (option, value)]
        self._objects: dict[str, dict[str, None]] = {}  # by manifest: kind/name of what it says
        self._opened = False

    def serve(self, replica: str) -> Sequence[str]:
        """Return the options by which the control plane ``replica`` reads it: all of them alike."""
        del replica
        return ("--kubernetes", "--replica", *self._options, "--namespace", self.namespace)

    async def open(self) -> None:
        """Make the namespace; the kinds of Istio must be there."""
        if shutil.which("kubectl") is None:
            raise NotReady("kubectl is not on the PATH")
        kinds = await self._kubectl("api-resources", f"--api-group={NETWORKING}", "--output=name")
        if missing := [plural for plural in _NEEDED if f"{plural}.{NETWORKING}" not in kinds.split()]:
            apply = " ".join(("kubectl", *self._options, "apply --server-side -f -"))
            raise NotReady(f"the API server does not know {', '.join(missing)}; make them known by: navarch crds | {apply}")
        if await self._kubectl("get", "namespace", self.namespace, "--ignore-not-found", "--output=name"):
            raise NotReady(f"the namespace {self.namespace} is there already; if no demo runs: kubectl delete namespace {self.namespace}")
        await self._kubectl("create", "namespace", self.namespace)
        self._opened = True

    async def save(self, name: str, text: str) -> Saved:
        """Apply ``text``, and delete what the manifest said before and does not say any more."""
        named = dict.fromkeys(_kind_and_name(document.data) for document in documents(text) if document.data)
        gone = [object_name for object_name in self._objects.get(name, {}) if object_name not in named]
        self._objects[name] = named
        begun = time.time()
        if named:
            await self._kubectl("apply", "--namespace", self.namespace, "--filename=-", stdin=text)
        if gone:
            await self._kubectl("delete", "--namespace", self.namespace, "--wait=false", *gone)
        return Saved(begun, time.time())

    async def token(self, account: str) -> str:
        """Return a token by the API server."""
        manifest = f"apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {account}}}\n"
        await self._kubectl("apply", "--namespace", self.namespace, "--filename=-", stdin=manifest)
        return (await self._kubectl("create", "token", account, "--namespace", self.namespace, "--audience=istio-ca")).strip()

    async def may_have_secrets(self, account: str) -> None:
        """Allow the account to list the Secrets of the namespace, which is what is asked of the API server."""
        here = ("--namespace", self.namespace)
        await self._kubectl("create", "role", account, "--verb=list", "--resource=secrets", *here)
        await self._kubectl("create", "rolebinding", account, f"--role={account}", f"--serviceaccount={self.namespace}:{account}", *here)

    async def roots(self) -> str:
        """Return the roots of the authority, which a Secret of the control plane keeps."""
        secret = await self._kubectl("get", "secret", "navarch-ca", "--namespace", self.namespace, "--output=json")
        stored = base64.b64decode(text(section(json.loads(secret), "data"), "authority.json"))
        return load_state(stored).bundle.decode()

    async def conditions(self, kind: str, name: str) -> Mapping[str, Mapping[str, object]]:
        """Return the conditions of an object by their type."""
        document = await self.get(kind, name)
        return {text(condition, "type"): condition for condition in items(section(document, "status"), "conditions")}

    async def get(self, kind: str, name: str) -> Json:
        """Return an object as it is."""
        document: Json = json.loads(await self._kubectl("get", "--namespace", self.namespace, kind, name, "--output=json"))
        return document

    async def close(self) -> None:
        """Delete the namespace with all that is in it."""
        if self._opened:
            await self._kubectl("delete", "namespace", self.namespace, "--wait=false")

    async def _kubectl(self, *arguments: str, stdin: str = "") -> str:
        process = await asyncio.create_subprocess_exec(
            *("kubectl", *self._options, f"--request-timeout={_PATIENCE_S:g}s", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, complaint = await process.communicate(stdin.encode())
        if process.returncode:
            raise NotReady(f"kubectl {' '.join(arguments)}: {complaint.decode(errors='replace').strip()[-600:]}")
        return output.decode()


def _kind_and_name(data: Mapping[str, object]) -> str:
    metadata = data["metadata"]
    assert isinstance(metadata, Mapping)  # noqa: S101 - our own manifests
    return f"{data['kind']}/{metadata['name']}"
