"""The type checker knows Envoy's messages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """from envoy.config.cluster.v3.cluster_pb2 import Cluster

good = Cluster(name="x")
bad = Cluster(nmae="x")
worse: int = good.name
"""


@pytest.mark.skipif(not (ROOT / ".typings" / "envoy").is_dir(), reason="the stubs are not written: make types")
def test_a_field_that_envoy_does_not_have_is_a_type_error(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--cache-dir", str(tmp_path / "cache"), str(program)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert 'program.py:4: error: Unexpected keyword argument "nmae" for "Cluster"' in done.stdout
    assert "program.py:5: error: Incompatible types in assignment" in done.stdout
