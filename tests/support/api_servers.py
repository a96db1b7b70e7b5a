"""What tests need of an API server, so that the same tests run on the small one of the tests and on a real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tests.support.cluster import Cluster
from tests.support.crd_definitions import define_all
from tests.support.fakes.kube_api import FakeApi

BOTH = ("fake", "real")


class ApiServer(Protocol):
    """An API server that a test may spoil."""

    ca_file: Path
    token: str

    @property
    def url(self) -> str:
        """Return where it is."""

    def kubeconfig(self) -> Path:
        """Return a kubeconfig of an administrator."""

    def call(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> dict[str, object]:
        """Return the answer; urllib.error.HTTPError where it refuses."""

    def namespace(self, name: str) -> str:
        """Make the namespace ``name`` where it is not there."""

    def compact(self) -> None:
        """Forget the history, so that no watch can go on from an old version."""

    def kill_api(self) -> None:
        """End it as a crash would."""

    def start_api(self) -> None:
        """Let it serve again."""

    def stop(self) -> None:
        """End every process or thread of it."""


def started(which: str, folder: Path) -> Iterator[ApiServer]:
    """Give the ``fake`` or a ``real`` API server with the definitions of this repository; end it afterwards."""
    api: ApiServer = FakeApi(folder) if which == "fake" else Cluster(folder, controllers=False)
    try:
        define_all(api)
        api.namespace("navarch-system")
        yield api
    finally:
        api.stop()
