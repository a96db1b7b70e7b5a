"""README.md: its commands, run as they are written, show what it says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.support.page_commands import commands, run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "README.md").read_text()
PROGRAMS = ("navarch", "envoy", "python", "curl")


def test_its_commands_reach_the_application_through_sidecar_and_gateway(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    serve, application, sidecar, through_sidecar, gateway, through_gateway, *asked = commands(PAGE, PROGRAMS)
    questions, (translate, validate, on_kubernetes, with_registry) = asked[:-4], asked[-4:]

    ran = run(
        tmp_path,
        "",
        (
            serve,
            "await 'curl -sf 127.0.0.1:15014/readyz'",
            application,
            sidecar,
            "await 'curl -sf -x 127.0.0.11:15002 http://web:8080/'",
            f"{through_sidecar} -sf -o sidecar.html",
            gateway,
            "await 'curl -sf -H \"host: web.example\" http://127.0.0.12:8080/'",
            f"{through_gateway} -sf -o gateway.html",
            *(f"{question} -sf -o {number}.json" for number, question in enumerate(questions)),
            f"{translate} > translated.json",
            validate,
        ),
    )

    assert ran.returncode == 0, ran.stderr
    assert "Directory listing" in (tmp_path / "sidecar.html").read_text()
    assert "Directory listing" in (tmp_path / "gateway.html").read_text()
    proxies, clusters, objects, problems = (json.loads((tmp_path / f"{number}.json").read_text()) for number in range(4))
    assert (len(proxies), bool(clusters), bool(objects), problems) == (2, True, True, [])
    assert "listeners" in json.loads((tmp_path / "translated.json").read_text())
    assert on_kubernetes == "navarch serve --kubernetes"
    assert with_registry == "navarch serve --files ./manifests --consul http://127.0.0.1:8500"
