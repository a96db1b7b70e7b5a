"""CustomResourceDefinitions by plain HTTP: made, copied, deleted."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Protocol

import yaml

OURS = Path(__file__).parents[2] / "manifests" / "crds"
_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Callee(Protocol):
    """An API server that can be asked."""

    def call(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> dict[str, object]:
        """Return the answer; urllib.error.HTTPError where it refuses."""


def define_all(api: Callee, path: Path = OURS) -> None:
    """Create every CustomResourceDefinition of the file or folder ``path``, and wait until they serve."""
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    found = [crd for file in files for crd in yaml.load_all(file.read_text(), yaml.CSafeLoader) if crd]
    for crd in found:
        api.call("POST", _PATH, crd)
    for crd in found:
        _wait(api, crd)


def define(api: Callee, crd: dict[str, object]) -> None:
    """Create the CustomResourceDefinition ``crd``, and wait until it serves."""
    api.call("POST", _PATH, crd)
    _wait(api, crd)


def definition(api: Callee, name: str) -> dict[str, object]:
    """Return the CustomResourceDefinition ``name``, fit to be created anew."""
    found = api.call("GET", f"{_PATH}/{name}")
    return {"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": {"name": name}, "spec": found["spec"]}


def undefine(api: Callee, name: str) -> None:
    """Delete the CustomResourceDefinition ``name``, and wait until it is gone."""
    api.call("DELETE", f"{_PATH}/{name}")
    while True:
        try:
            api.call("GET", f"{_PATH}/{name}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return
            raise


def _wait(api: Callee, crd: dict[str, object]) -> None:
    metadata = crd["metadata"]
    assert isinstance(metadata, dict)
    while not _established(api.call("GET", f"{_PATH}/{metadata['name']}")):
        pass


def _established(crd: dict[str, object]) -> bool:
    status = crd.get("status")
    conditions = (status.get("conditions") if isinstance(status, dict) else None) or ()
    return any((each["type"], each["status"]) == ("Established", "True") for each in conditions)
