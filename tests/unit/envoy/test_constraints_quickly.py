"""The quick answer whether a message breaks a constraint is the careful one: for all golden resources, and with fields taken away."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from google.protobuf import symbol_database
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from controlplane.envoy.constraints import is_valid, walk
from controlplane.envoy.patching.message_types import message_class, type_name
from controlplane.envoy.type_urls import PREFIX
from controlplane.mesh.snapshot import SECTIONS

_CASES = sorted((Path(__file__).parents[2] / "golden" / "translate").glob("*/out.yaml"))
_WITHOUT_CLASS = {  # they stand in a TypedStruct
    "envoy.extensions.matching.actions.transform_stat.v3.TransformStat",
    "envoy.extensions.matching.common_inputs.stats.v3.StatTagValueInput",
}
_STEP = 5  # fields are taken away in every so many cases


@cache
def resources(case: Path) -> list[Message]:
    """Return the resources of a golden case."""
    loaded = yaml.load(case.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    known = symbol_database.Default()
    for name in packed_types(loaded):
        assert message_class(name) or name in _WITHOUT_CLASS, name
    return [
        ParseDict(written, known.GetSymbol(type_url.removeprefix(PREFIX))())
        for section, type_url in SECTIONS.items()
        for written in loaded.get(section) or ()
    ]


def packed_types(value: object) -> Iterator[str]:
    """Yield the names of the messages that are packed in ``value``."""
    if isinstance(value, dict):
        yield from (type_name(each) for name, each in value.items() if name == "@type")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from packed_types(each)


def within(message: Message) -> Iterator[Message]:
    """Yield ``message`` and the messages in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for each in value if field.is_repeated else (value,):
                yield from within(each)


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.parent.name)
def test_golden_resources_are_valid(case: Path) -> None:
    assert all(is_valid(message) and not list(walk(message, "")) for message in resources(case))


@pytest.mark.parametrize("case", _CASES[::_STEP], ids=lambda case: case.parent.name)
def test_what_lacks_a_field_is_judged_alike(case: Path) -> None:
    tried = broken = 0
    for message in (part for whole in resources(case) for part in within(whole)):
        for field, _ in message.ListFields():
            without = type(message)()
            without.CopyFrom(message)
            without.ClearField(field.name)
            found = list(walk(without, ""))
            assert is_valid(without) == (not found), (without, found)
            tried += 1
            broken += bool(found)
    assert 0 < broken < tried or not resources(case)
