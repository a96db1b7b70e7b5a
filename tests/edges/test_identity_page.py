"""docs/identity.md: its commands run in their order, and what it names is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from controlplane.admin.identity_metrics import identity_metrics
from controlplane.admin.schemas import IdentityRow, RootRow, WaitingFor

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "identity.md").read_text()
ROW = IdentityRow(
    phase="steady",
    bundle="b",
    roots=(RootRow(root="r", signs=True, expires_at=1.0, issuer_expires_at=1.0),),
    waiting_for=WaitingFor(bundle=0, certificate=0),
    certificates=0,
    issued=0,
    requests={"signed": 0},
    first_expires_at=1.0,
    refused={"token": 0},
    credentials={"held": 0},
)


def test_its_commands_do_what_it_says(tmp_path: Path) -> None:
    commands = [shlex.split(line)[1:] for line in PAGE.splitlines() if line.startswith("    navarch ")]

    for command in commands:
        run = [sys.executable, "-m", "controlplane.cli.main", *command]
        ran = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert (ran.returncode, ran.stderr) == (0, ""), command

    assert len(commands) == 7
    assert {each.name for each in (tmp_path / "cacerts").iterdir()} == set(re.findall(r"`([\w-]+\.pem)`", PAGE))


def test_it_names_all_metrics_of_identities() -> None:
    made = {each.name + ("_total" if each.type == "counter" else "") for each in identity_metrics(ROW, 0.0)}

    assert set(re.findall(r"`(navarch_\w+)`", PAGE)) == made
