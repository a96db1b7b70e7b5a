"""``navarch drill`` without a control plane: what it says, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import navarch

EXAMPLES = Path(__file__).parents[2] / "examples" / "drills"


def test_no_control_plane_is_told_without_a_traceback(tmp_path: Path) -> None:
    ended = navarch("drill", "run", "-f", str(EXAMPLES / "zone-loss.yaml"), "--socket", str(tmp_path / "none.sock"))

    assert ended.returncode == 2
    assert "navarch serve --drills" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind: Service", "expected one Drill"),
        ("a: [", "expected"),
        ('{"title": "t", "method": [{"type": "action", "provider": {"type": "process"}}]}', "provider process"),
        ("{apiVersion: litmuschaos.io/v1alpha1, kind: ChaosEngine, spec: {experiments: [{name: disk-fill}]}}", "pod-delete alone"),
    ],
)
def test_what_is_no_drill_is_told(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "drill.yaml").write_text(text)

    ended = navarch("drill", "preview", "-f", str(tmp_path / "drill.yaml"), "--socket", str(tmp_path / "none.sock"))

    assert ended.returncode == 2
    assert expected in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


def test_the_schema_of_reports_is_json() -> None:
    ended = navarch("drill", "schema")

    assert ended.returncode == 0
    assert "verdict" in json.loads(ended.stdout)["properties"]


@pytest.mark.parametrize(("option", "expected"), [(("--write", "report.pdf"), ".html"), (("--journal", "j.json"), "Chaos Toolkit")])
def test_options_that_cannot_be_kept_to_are_told_before_anything_is_run(option: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    ended = navarch("drill", "run", "-f", str(EXAMPLES / "zone-loss.yaml"), *option, "--socket", str(tmp_path / "none.sock"))

    assert ended.returncode == 2
    assert expected in ended.stderr
