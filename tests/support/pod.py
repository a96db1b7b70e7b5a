"""One pod, from its first init container to its end."""

from __future__ import annotations

import asyncio
import contextlib
import time
import urllib.error
from pathlib import Path

from controlplane.untyped import Json, items, number, section, text
from tests.support.cluster import Cluster
from tests.support.containers import Container, Image, environment, start
from tests.support.pod_probes import Probing, ask
from tests.support.pod_volumes import Sources, write

_LOOK_S = 0.25  # how often ConfigMaps and tokens are looked at: a real kubelet takes a minute
_MERGE = "application/merge-patch+json"


class RunningPod:
    """A pod that runs here."""

    def __init__(self, cluster: Cluster, node: str, data: Json, folder: Path, hosts: dict[str, str]) -> None:
        """Prepare the pod ``data`` of ``cluster``, with its files in ``folder``."""
        self.data = data
        self.folder = folder
        self.going = asyncio.Event()
        self.containers: dict[str, Container] = {}
        self.restarts: dict[str, int] = {}
        self.ip = ""
        self._cluster = cluster
        self._node = node
        self._hosts = hosts
        self._sandbox = ""
        self._host_ip = ""
        self._states: dict[str, Probing] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._sources = Sources(lambda: self.data, self._value, self._configuration, self._token)
        self._said: object = None

    @property
    def uid(self) -> str:
        """Return the uid of the object."""
        return text(self._metadata, "uid")

    @property
    def _metadata(self) -> Json:
        return section(self.data, "metadata")

    @property
    def _spec(self) -> Json:
        return section(self.data, "spec")

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{text(self._metadata, 'namespace')}/pods/{text(self._metadata, 'name')}"

    def log(self, container: str) -> str:
        """Return what ``container`` has written."""
        return (self.folder / f"{container}.log").read_text(errors="replace")

    def renew_token(self) -> None:
        """Have the pod's tokens be new ones."""
        self._sources.forget_tokens()

    def crash(self, container: str) -> None:
        """Kill ``container``, which is then started again."""
        self.containers[container].kill()

    async def run(self, sandbox: str, ip: str, host_ip: str) -> None:
        """Run it in the network namespace ``sandbox`` until it is deleted, and end it in good order."""
        self._sandbox, self.ip, self._host_ip = sandbox, ip, host_ip
        self.folder.mkdir(parents=True)
        (self.folder / "hosts").write_text(
            "".join(f"{address} {names}\n" for address, names in {"127.0.0.1": "localhost", **self._hosts}.items())
        )
        await self._bind()
        await self._say()
        await self._mounted()
        working = asyncio.create_task(self._work())
        leaving = asyncio.create_task(self.going.wait())
        try:
            done, _ = await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if working in done:
                await working
        finally:
            working.cancel()
            leaving.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)
        await self._end()

    async def kill(self) -> None:
        """End what runs, at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for each in self.containers.values():
            each.kill()
        await asyncio.gather(*(each.ended() for each in self.containers.values()))

    async def _work(self) -> None:
        """Start everything in order, then keep volumes and status right."""
        for each in items(self._spec, "initContainers"):
            await self._begin(each)
            if each.get("restartPolicy") != "Always":
                status = await self.containers.pop(text(each, "name")).ended()
                assert status == 0, f"{text(each, 'name')} ended with {status}: {self.log(text(each, 'name'))[-2000:]}"
            else:
                await self._states[text(each, "name")].started.wait()
        for each in items(self._spec, "containers"):
            await self._begin(each)
        while True:
            await self._say()
            await asyncio.sleep(_LOOK_S / 5)
            await self._volumes()

    async def _begin(self, container: Json) -> None:
        """Start ``container``, and what watches it."""
        name = text(container, "name")
        state = self._states[name] = Probing(container, self.ip)
        await self._start(container)
        if container.get("restartPolicy") == "Always" or container in items(self._spec, "containers"):
            self._tasks += (
                asyncio.create_task(self._again(container, state)),
                asyncio.create_task(state.run(lambda: self.crash(name))),
            )
            hook = section(section(container, "lifecycle"), "postStart")
            if hook:
                await self._hook(name, hook)

    async def _start(self, container: Json) -> None:
        name = text(container, "name")
        paths = {text(each, "mountPath"): self.folder / "volumes" / text(each, "name") for each in items(container, "volumeMounts")}
        root = self.folder / f"{name}.root-{self.restarts.get(name, 0)}"
        root.mkdir()
        fields = {path: self._value(path) for path in _FIELDS}
        image = Image(self._sandbox, root, paths, self.folder / "hosts", self.folder / f"{name}.log")
        self.containers[name] = await start(container, environment(container, fields), image, section(self._spec, "securityContext"))

    async def _again(self, container: Json, state: Probing) -> None:
        """Start ``container`` again whenever it ends."""
        name = text(container, "name")
        while True:
            began = time.monotonic()
            await self.containers[name].ended()
            state.reset()
            self.restarts[name] = self.restarts.get(name, 0) + 1
            if time.monotonic() - began < 1:
                await asyncio.sleep(0.5)  # a real kubelet backs off from 10 s on
            await self._start(container)

    async def _hook(self, name: str, hook: Json) -> None:
        if command := section(hook, "exec").get("command"):
            assert isinstance(command, list)
            enter = ["nsenter", f"--target={self.containers[name].pid}", "--net", "--mount", "--root"]
            process = await asyncio.create_subprocess_exec(*enter, *map(str, command))
            await process.wait()
        elif get := section(hook, "httpGet"):
            await ask(self.ip, get, 60)

    async def _end(self) -> None:
        """End the pod: hooks first, all at once, then the applications, then the sidecars, the last one first."""
        for task in self._tasks:
            task.cancel()  # neither probes nor restarts from now on
        await asyncio.gather(*self._tasks, return_exceptions=True)
        deadline = time.monotonic() + number(self._metadata, "deletionGracePeriodSeconds")
        await self._say()
        every = {text(each, "name"): each for key in ("containers", "initContainers") for each in items(self._spec, key)}
        hooks = {name: section(section(every[name], "lifecycle"), "preStop") for name in self.containers}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline - time.monotonic()):
                await asyncio.gather(*(self._hook(name, hook) for name, hook in hooks.items() if hook), return_exceptions=True)
        applications = [text(each, "name") for each in items(self._spec, "containers")]
        await asyncio.gather(*(self.containers[name].stop(deadline - time.monotonic()) for name in applications if name in self.containers))
        for each in reversed(items(self._spec, "initContainers")):
            if sidecar := self.containers.get(text(each, "name")):
                await sidecar.stop(max(deadline - time.monotonic(), 1.0))
        with contextlib.suppress(urllib.error.HTTPError):
            await self._call("DELETE", self._path, {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}})

    async def _mounted(self) -> None:
        """Wait for all that is to be mounted: a pod does not start without."""
        while True:
            try:
                return await self._volumes()
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise
            await asyncio.sleep(_LOOK_S)

    async def _volumes(self) -> None:
        for volume in items(self._spec, "volumes"):
            folder = self.folder / "volumes" / text(volume, "name")
            folder.mkdir(parents=True, exist_ok=True)
            files = await asyncio.to_thread(self._sources.files, volume)
            if files is not None:
                write(folder, files)

    async def _bind(self) -> None:
        """Say that the pod is here, as a scheduler would."""
        binding = {"metadata": {"name": text(self._metadata, "name")}, "target": {"apiVersion": "v1", "kind": "Node", "name": self._node}}
        await self._call("POST", f"{self._path}/binding", {"apiVersion": "v1", "kind": "Binding", **binding})
        section(self.data, "spec")["nodeName"] = self._node

    async def _say(self) -> None:
        """Write the status, where it is another than before."""
        applications = [text(each, "name") for each in items(self._spec, "containers")]
        watched = {name: state for name, state in self._states.items() if name in self.containers}
        initialized = all(name in self.containers for name in applications)
        ready = initialized and not self.going.is_set() and all(state.ready.is_set() for state in watched.values())
        conditions = {"PodScheduled": True, "Initialized": initialized, "ContainersReady": ready, "Ready": ready}
        status = {
            "phase": "Running" if initialized else "Pending",
            "hostIP": self._host_ip,
            "podIP": self.ip,
            "podIPs": [{"ip": self.ip}],
            "conditions": [{"type": name, "status": str(so)} for name, so in conditions.items()],
        }
        if status == self._said:
            return
        with contextlib.suppress(urllib.error.HTTPError):  # it is gone
            await self._call("PATCH", f"{self._path}/status", {"status": status})
        self._said = status

    async def _call(self, method: str, path: str, body: Json) -> Json:
        kind = _MERGE if method == "PATCH" else "application/json"
        return await asyncio.to_thread(self._cluster.call, method, path, body, kind)

    def _value(self, path: str) -> str:
        """Return the field at ``path``, as the downward API has it."""
        found = {"status.podIP": self.ip, "status.podIPs": self.ip, "status.hostIP": self._host_ip}.get(path)
        if found is not None:
            return found
        if path.startswith("metadata.annotations['"):
            return text(section(self._metadata, "annotations"), path.split("'")[1])
        if path in {"metadata.labels", "metadata.annotations"}:
            values = section(self._metadata, path.partition(".")[2])
            return "\n".join(f'{name}="{value}"' for name, value in sorted(values.items()))
        where, _, name = path.partition(".")
        return text(section(self.data, where), name)

    def _configuration(self, plural: str, name: str) -> Json:
        return self._cluster.call("GET", f"/api/v1/namespaces/{text(self._metadata, 'namespace')}/{plural}/{name}")

    def _token(self, wanted: Json) -> str:
        reference = {"kind": "Pod", "apiVersion": "v1", "name": text(self._metadata, "name"), "uid": self.uid}
        seconds = max(number(wanted, "expirationSeconds"), 600)
        spec: Json = {"audiences": [text(wanted, "audience")], "expirationSeconds": seconds, "boundObjectRef": reference}
        account = text(self._spec, "serviceAccountName") or "default"
        path = f"/api/v1/namespaces/{text(self._metadata, 'namespace')}/serviceaccounts/{account}/token"
        answer = self._cluster.call("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
        return text(section(answer, "status"), "token")


_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "status.podIP",
    "status.podIPs",
    "status.hostIP",
    "spec.serviceAccountName",
    "spec.nodeName",
)
