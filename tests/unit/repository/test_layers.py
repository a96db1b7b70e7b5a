"""The contracts of the layers bite."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CLOCKS = ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")


@pytest.mark.parametrize(
    ("module", "line", "refusal"),
    [
        ("model/hosts.py", "import controlplane.mesh.mesh", "Rooms import downwards only BROKEN"),
        ("sources/files/folder.py", "import controlplane.serve.xds.subscribers", "Rooms import downwards only BROKEN"),
        ("attic/__init__.py", '"""A room that no layer names."""', "must be declared as a layer"),
        ("xds/view.py", "import asyncio", "Pure rooms do no I/O and know no clock BROKEN"),
        ("mesh/mesh.py", "import time", "Pure rooms do no I/O and know no clock BROKEN"),
        ("ca/rotation.py", "import secrets", "Pure rooms do no I/O and know no clock BROKEN"),
        ("ir/rules.py", "import controlplane.objects.networking.gateway", "Rooms import downwards only BROKEN"),
        (
            "translate/routes/virtual_hosts.py",
            "import controlplane.objects.networking.gateway",
            "What users write ends in mesh: translation reads our own values BROKEN",
        ),
        (
            "admin/api.py",
            "import envoy.config.cluster.v3.cluster_pb2",
            "Envoy's generated modules stay where messages are made and read BROKEN",
        ),
    ],
)
def test_an_import_against_the_layers_is_refused(tmp_path: Path, module: str, line: str, refusal: str) -> None:
    shutil.copytree(ROOT / "controlplane", tmp_path / "controlplane", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    wrong = tmp_path / "controlplane" / module
    wrong.parent.mkdir(exist_ok=True)
    before = wrong.read_text() if wrong.exists() else ""
    wrong.write_text(f"{before}\n{line}\n")

    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert refusal in " ".join(done.stdout.split())


def test_no_pure_room_asks_a_date_what_time_it_is() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [pure] = [contract for contract in contracts if contract["name"].startswith("Pure rooms")]
    places = [ROOT / room.replace(".", "/") for room in pure["source_modules"]]
    files = [path for place in places for path in (place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")])]

    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node).endswith(CLOCKS)
    ]

    assert len(files) > 300
    assert found == []
