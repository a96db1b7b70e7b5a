"""docs/identity.md: its commands run in their order, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

from controlplane.admin.identity_metrics import identity_metrics
from controlplane.admin.schemas import IdentityRow, RootRow, WaitingFor
from tests.support.page_commands import commands, run

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
    serve, *rest = commands(PAGE)
    (tmp_path / "manifests").mkdir()

    connected = (
        "openssl s_client -connect 127.0.0.1:15012 -verify_ip 127.0.0.1 -verify_return_error -CAfile roots.pem -alpn h2 </dev/null >frames"
    )
    ran = run(
        tmp_path,
        "",
        (serve, "await 'curl -sf 127.0.0.1:15014/readyz'", *rest, "navarch ca root --state ./state > roots.pem", connected),
    )

    assert ran.returncode == 0, ran.stderr
    assert len(rest) == 7
    exported = {each.name for each in (tmp_path / "cacerts").iterdir()}
    assert exported == set(re.findall(r"`([\w-]+\.pem)`", PAGE))


def test_it_names_all_metrics_of_identities() -> None:
    made = {each.name + ("_total" if each.type == "counter" else "") for each in identity_metrics(ROW, 0.0)}

    assert set(re.findall(r"`(navarch_\w+)`", PAGE)) == made | {"navarch_callers_refused_total"}  # which is there without identities too
