"""The real kube-apiserver, kube-controller-manager and etcd: found where KUBEBUILDER_ASSETS says, or built once with Go and kept.

`python -m tests.support.kube_binaries` builds what is missing (about 5 minutes on 2 cores) and says where it all is.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support import go_programs

HERE = Path(__file__).parent / "assets"
VERSION = "v1.36.3"  # as in assets/kubernetes/go.mod
_MODULES = {
    "etcd": ("etcd", "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": ("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    "kube-controller-manager": ("kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
}
_STAMP = "k8s.io/component-base/version"
HOW = "set KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver, or install Go and run: python -m tests.support.kube_binaries"


def cache() -> Path:
    """Return the folder where binaries of just these versions are kept."""
    folders = {folder for folder, _ in _MODULES.values()}
    return go_programs.kept("kube", (path for folder in folders for path in HERE.glob(f"{folder}/go.*")))


def found(name: str) -> Path | None:
    """Return where the program ``name`` is, if it is anywhere."""
    folders = [Path(given)] if (given := os.environ.get("KUBEBUILDER_ASSETS")) else []
    return next((path for folder in (*folders, cache()) if (path := folder / name).is_file()), None)


def needed(name: str) -> Path:
    """Return the program ``name``, which is built if it has to be; skip the test where it cannot be had."""
    path = found(name)
    if path is not None:
        return path
    if not go_programs.go_is_there():
        pytest.skip(f"not run: {name} is not there; {HOW}")
    return built(name)


def built(name: str) -> Path:
    """Build the program ``name`` into the cache; where another process is at it, wait for that."""
    module, package = _MODULES[name]
    major, minor, _ = VERSION[1:].split(".")
    stamped = f"-s -w -X {_STAMP}.gitVersion={VERSION} -X {_STAMP}.gitMajor={major} -X {_STAMP}.gitMinor={minor}"
    return go_programs.built(cache() / name, HERE / module, package, ("-ldflags", stamped))


def kubectl() -> str:
    """Return the path of kubectl; skip the test where there is none."""
    path = shutil.which("kubectl")
    if path is None:
        pytest.skip("not run: there is no kubectl on the PATH")
    return path


def main() -> None:
    """Build what is missing and can be built, and say where each program is."""
    for name in _MODULES:
        path = found(name) or (built(name) if go_programs.go_is_there() else None)
        print(path or f"{name} is not there, so tests will not run; {HOW}")


if __name__ == "__main__":
    main()
