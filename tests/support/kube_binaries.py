"""The real kube-apiserver, kube-controller-manager and etcd: found where KUBEBUILDER_ASSETS says, or built once with Go and kept.

`python -m tests.support.kube_binaries` builds what is missing (about 5 minutes on 2 cores) and says where it all is.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    content = b"".join(path.read_bytes() for path in sorted(HERE.glob("*/go.*")))
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "navarch" / f"kube-{hashlib.sha256(content).hexdigest()[:16]}"


def found(name: str) -> Path | None:
    """Return where the program ``name`` is, if it is anywhere."""
    folders = [Path(given)] if (given := os.environ.get("KUBEBUILDER_ASSETS")) else []
    return next((path for folder in (*folders, cache()) if (path := folder / name).is_file()), None)


def needed(name: str) -> Path:
    """Return the program ``name``, which is built if it has to be; skip the test where it cannot be had."""
    path = found(name)
    if path is not None:
        return path
    if shutil.which("go") is None:
        pytest.skip(f"not run: {name} is not there; {HOW}")
    return built(name)


def built(name: str) -> Path:
    """Build the program ``name`` into the cache; where another process is at it, wait for that."""
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (path := found(name)) is not None:
            return path
        module, package = _MODULES[name]
        sys.stderr.write(f"building {name}: once, some minutes\n")
        major, minor, _ = VERSION[1:].split(".")
        flags = f"-s -w -X {_STAMP}.gitVersion={VERSION} -X {_STAMP}.gitMajor={major} -X {_STAMP}.gitMinor={minor}"
        made = folder / f"{name}.part"
        command = ["go", "build", "-mod=readonly", "-trimpath", "-ldflags", flags, "-o", str(made), package]
        subprocess.run(command, cwd=HERE / module, env={**os.environ, "CGO_ENABLED": "0"}, check=True)
        return made.rename(folder / name)


def kubectl() -> str:
    """Return the path of kubectl; skip the test where there is none."""
    path = shutil.which("kubectl")
    if path is None:
        pytest.skip("not run: there is no kubectl on the PATH")
    return path


def main() -> None:
    """Build what is missing and can be built, and say where each program is."""
    for name in _MODULES:
        path = found(name) or (built(name) if shutil.which("go") else None)
        print(path or f"{name} is not there, so tests will not run; {HOW}")


if __name__ == "__main__":
    main()
