"""What tests need of an API server, so that the same tests run on the small one of the tests and on a real one."""

from __future__ import annotations

import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import yaml

from tests.fakes.kube_api import FakeApi
from tests.kube.cluster import Cluster
from tests.kube.with_cluster import CRDS

BOTH = ("fake", "real")
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


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
        for path in sorted(CRDS.glob("*.yaml")):
            for crd in yaml.safe_load_all(path.read_text()):
                define(api, crd)
        api.namespace("navarch-system")
        yield api
    finally:
        api.stop()


def define(api: ApiServer, crd: dict[str, object]) -> None:
    """Create the CustomResourceDefinition ``crd``, and wait until it serves."""
    api.call("POST", _DEFINITIONS, crd)
    metadata = crd["metadata"]
    assert isinstance(metadata, dict)
    while not _established(api.call("GET", f"{_DEFINITIONS}/{metadata['name']}")):
        pass


def definition(api: ApiServer, name: str) -> dict[str, object]:
    """Return the CustomResourceDefinition ``name``, fit to be created anew."""
    found = api.call("GET", f"{_DEFINITIONS}/{name}")
    return {"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": {"name": name}, "spec": found["spec"]}


def undefine(api: ApiServer, name: str) -> None:
    """Delete the CustomResourceDefinition ``name``, and wait until it is gone."""
    api.call("DELETE", f"{_DEFINITIONS}/{name}")
    while True:
        try:
            api.call("GET", f"{_DEFINITIONS}/{name}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return
            raise


def _established(crd: dict[str, object]) -> bool:
    status = crd.get("status")
    conditions = (status.get("conditions") if isinstance(status, dict) else None) or ()
    return any((each["type"], each["status"]) == ("Established", "True") for each in conditions)
