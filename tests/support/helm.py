"""Helm, by which the chart is rendered: built once with Go and cached.

`python -m tests.support.helm` builds it where it is missing (some minutes) and says where it is.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import go_programs

_MODULE = Path(__file__).parent / "assets" / "helm"
_PACKAGE = "helm.sh/helm/v3/cmd/helm"
_HOW = "install Go and run: python -m tests.support.helm"


def binary() -> Path:
    """Return Helm, which is built if it has to be; skip the test where it cannot be had."""
    path = go_programs.kept("helm", _MODULE.glob("go.*")) / "helm"
    if not path.is_file() and not go_programs.go_is_there():
        pytest.skip(f"not run: Helm is not there; {_HOW}")
    return go_programs.built(path, _MODULE, _PACKAGE, ("-ldflags", "-s -w"))


if __name__ == "__main__":
    print(binary() if go_programs.go_is_there() else f"it is not there; {_HOW}")
