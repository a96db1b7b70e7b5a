"""docs/fields.md says what comes of each field that is read: an effect, or a Problem that names it. None is silent."""

from __future__ import annotations

import re

import pytest

from tests.support.fields.audit import Audit
from tests.support.fields.leaves import KindOfObject, containers, kinds
from tests.support.fields.page import PAGE, head, section, sums, verdicts, without_effect
from tests.support.fields.verdicts import Letter
from tests.support.fields.world import World

KINDS = {kind.name: kind for kind in kinds()}
TEXT = PAGE.read_text()
ROW = re.compile(r"^\| `([^`]+)` \| (\S) \|", re.MULTILINE)
MOST_WITHOUT_EFFECT = 98  # less with each field that comes to have an effect


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_no_field_is_silent_and_the_page_has_what_comes_of_each(kind: KindOfObject) -> None:
    found = verdicts(kind)

    assert [verdict.path for verdict in found if verdict.is_silent] == []
    assert [verdict.path for verdict in found if verdict.is_mistold] == []
    assert section(kind.name, found) in TEXT, "run: make fields"


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.root], ids=lambda kind: kind.name)
def test_a_field_that_nobody_knows_is_told(kind: KindOfObject, world: World) -> None:
    audit = Audit(kind, world)

    silent = [container for container in containers(kind.schema) if not audit.is_told_of_unknown(container)]

    assert silent == []


def test_a_field_that_lost_its_warning_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.objects.parse.ineffective_fields", lambda *_: ())

    found = {verdict.path: verdict for verdict in Audit(KINDS["WorkloadEntry"], world).verdicts()}

    assert found["network"].is_silent
    assert found["address"].letter is Letter.EFFECT


def test_the_page_begins_with_its_sums() -> None:
    parts = {part.partition("\n")[0]: part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]}
    letters = sums((kind, path, letter) for kind, part in parts.items() for path, letter in ROW.findall(part))

    assert parts.keys() == KINDS.keys()
    assert TEXT.startswith(head(letters)), "run: make fields"
    assert without_effect(letters) <= MOST_WITHOUT_EFFECT
