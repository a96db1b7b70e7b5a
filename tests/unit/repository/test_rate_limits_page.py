"""The examples of docs/rate-limits.md are objects without a mistake."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from controlplane.objects.parse import parse

PAGE = (Path(__file__).parents[3] / "docs" / "rate-limits.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_its_objects_and_rules_have_no_problem() -> None:
    [rules] = [yaml.safe_load(block) for block in BLOCKS if block.lstrip().startswith("rules:")]
    limits = [each for block in BLOCKS if (each := yaml.safe_load(block)).get("kind") == "RateLimit"]

    assert len(limits) == 2
    found = [parse(each) for each in (*limits, {**limits[0], "spec": rules})]
    assert [problem for each in found for problem in each.problems] == []
