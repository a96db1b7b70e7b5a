"""An object can be written as a manifest again that means the same."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import yaml

from controlplane.objects.parse import Object, parse
from controlplane.objects.written import manifest
from controlplane.sources.files.once import read_manifests

CASES = sorted(Path("tests/golden/translate").glob("*/in.yaml"))


@pytest.mark.parametrize("path", CASES, ids=[path.parent.name for path in CASES])
def test_what_was_read_is_written_so_that_it_is_read_as_the_same(path: Path) -> None:
    folder, changes = read_manifests([str(path)], io.BytesIO())
    refused = {each.problem.object for of_document in folder.problems_by_document() for each in of_document}
    objects = [change.object for change in changes if change.object is not None and change.key not in refused]

    again = [parse(yaml.safe_load(yaml.safe_dump(manifest(each)))).object for each in objects]

    assert [_content(each) for each in again] == [_content(each) for each in objects]


def _content(item: Object | None) -> object:
    """Return ``item`` less what an API server writes."""
    assert item is not None
    kept = {"created": "", "deleted": "", "uid": "", "owners": (), "generation": 0}
    return item.model_copy(update={"meta": item.meta.model_copy(update=kept)})
