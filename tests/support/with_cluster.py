"""``python -m tests.support.with_cluster COMMAND...``: run a command while an API server with our kinds is up; $KUBECONFIG leads to it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.cluster import Cluster
from tests.support.crd_definitions import define_all


def knowing_our_kinds(folder: Path, *, controllers: bool = False) -> Cluster:
    """Return a new API server whose files are below ``folder``, with the definitions of this repository."""
    cluster = Cluster(folder, controllers=controllers)
    define_all(cluster)
    return cluster


def main() -> int:
    """Run the command of the arguments and return its exit code."""
    with tempfile.TemporaryDirectory(prefix="navarch-cluster-") as name:
        cluster = knowing_our_kinds(Path(name), controllers=True)
        try:
            return subprocess.run(sys.argv[1:], env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig())}, check=False).returncode
        finally:
            cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
