"""A small kubelet: watches the Pods of an API server, runs each in a network namespace of its own, and says how it is.

It is no more than what the tests need of https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/: init containers in order,
sidecars among them, probes, hooks, restarts, volumes that change, an end with grace.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from controlplane.kube.access import KubernetesAccess
from controlplane.kube.client import connect
from controlplane.kube.reflector import Changed, Reflector, ReflectorTiming, Replaced
from controlplane.kube.resources import ApiResource
from controlplane.untyped import Json, section, text
from tests.support.cluster import Cluster
from tests.support.node import Node
from tests.support.pod import RunningPod

PODS = ApiResource("", "v1", "pods", "Pod")
NODE_NAME = "node-1"


class Kubelet:
    """The kubelet of ``node``, in a thread of its own."""

    def __init__(self, cluster: Cluster, node: Node, folder: Path, hosts: dict[str, str]) -> None:
        """Run the pods of ``cluster`` on ``node``, with their files in ``folder``; all of them know ``hosts``, names by address."""
        self.node = node
        self.pods: dict[tuple[str, str], RunningPod] = {}
        self._cluster = cluster
        self._folder = folder
        self._hosts = hosts
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._seen: set[str] = set()  # uids: what has failed is not begun again
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), name="kubelet")
        self._stop = asyncio.Event()
        self.trouble: list[str] = []  # what went wrong with pods

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Work until the block ends, and then end every container."""
        self._cluster.call("POST", "/api/v1/nodes", {"metadata": {"name": NODE_NAME}})  # pods of a node that is not there are collected
        self._thread.start()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(60)
            self._loop.close()

    def pod(self, namespace: str, name: str) -> RunningPod:
        """Return the pod that runs under this name; a KeyError says that there is none."""
        return self.pods[namespace, name]

    async def _run(self) -> None:
        async with connect(KubernetesAccess(str(self._cluster.kubeconfig()))) as client:
            reflector = Reflector(client, PODS, ReflectorTiming(), lambda: 0.5)
            watching = asyncio.create_task(reflector.run(self._hear))
            await self._stop.wait()
            watching.cancel()
            running = list(self._tasks.values())
            for task in running:
                task.cancel()
            await asyncio.gather(watching, *running, return_exceptions=True)

    def _hear(self, news: Replaced | Changed) -> None:
        events = [(True, each) for each in news.items] if isinstance(news, Replaced) else list(news.events)
        for there, data in events:
            metadata = section(data, "metadata")
            uid, key = text(metadata, "uid"), (text(metadata, "namespace"), text(metadata, "name"))
            pod = self.pods.get(key)
            if pod is not None and pod.uid == uid:
                pod.data = data
                if not there or "deletionTimestamp" in metadata:
                    pod.going.set()
            elif there and "deletionTimestamp" not in metadata and uid not in self._seen:
                self._seen.add(uid)
                self._begin(key, uid, data)

    def _begin(self, key: tuple[str, str], uid: str, data: Json) -> None:
        folder = self._folder / f"{key[0]}_{key[1]}_{uid[:8]}"
        pod = self.pods[key] = RunningPod(self._cluster, NODE_NAME, data, folder, self._hosts)
        task = self._tasks[uid] = asyncio.create_task(self._keep(key, pod))
        task.add_done_callback(lambda _: self._tasks.pop(uid, None))

    async def _keep(self, key: tuple[str, str], pod: RunningPod) -> None:
        with self.node.sandbox() as (sandbox, ip):
            try:
                await pod.run(sandbox, ip, self.node.ip)
            except (AssertionError, OSError) as error:
                self.trouble.append(f"{key}: {error!r}")
            finally:
                await pod.kill()
                if self.pods.get(key) is pod:
                    del self.pods[key]
