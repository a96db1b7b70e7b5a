"""The state of a channel has one writer, and the page about the protocol shows its table."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from controlplane.xds.channel import OF_VIRTUAL_HOSTS, TRANSITIONS, Channel, Has, State, Transitions
from controlplane.xds.subscription import Subscription
from tests.support.fakes.resources import cluster

ROOT = Path(__file__).parents[3]
READERS = ("base_stream.py", "delta.py", "ordering.py", "shared_plans.py", "sotw.py", "vhds.py")
STATE = {field.name for field in fields(Channel)} - {"type_url", "silent", "rank"}  # these are given once
QUESTIONS = STATE | {name.removeprefix("_") for name in STATE} | {"client_resources", "wildcard", "named", "size"}
CHANGES = {"add", "append", "begin", "clear", "difference_update", "discard", "drop", "extend", "insert", "pop", "put"}
CHANGES |= {"popitem", "remove", "setdefault", "update", "intersection_update", "symmetric_difference_update"}


def writes(text: str) -> Iterator[int]:
    """Yield the lines of the module ``text`` that write to the state of a channel, or reach for its private part."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Attribute(attr=attr, ctx=ast.Store() | ast.Del()) if attr in QUESTIONS:
                yield node.lineno
            case ast.Attribute(attr=attr) if attr in STATE and attr.startswith("_"):
                yield node.lineno
            case ast.Subscript(value=value, ctx=ast.Store() | ast.Del()) if _is_state(value):
                yield node.lineno
            case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in CHANGES and _is_state(value):
                yield node.lineno
            case _:
                pass


def _is_state(node: ast.expr) -> bool:
    match node:
        case ast.Attribute(attr=attr):
            return attr in QUESTIONS
        case ast.Name(id=name):
            return name in QUESTIONS  # a local that is called as what it was read from
        case _:
            return False


def test_nothing_but_the_channel_writes_its_state() -> None:
    found = {name: list(writes((ROOT / "controlplane" / "xds" / name).read_text())) for name in READERS}

    assert found == {name: [] for name in READERS}


def test_every_module_that_knows_a_channel_is_looked_at() -> None:
    modules = (ROOT / "controlplane").rglob("*.py")

    knowing = {path.name for path in modules if "xds.channel" in path.read_text() or "xds.vhds" in path.read_text()}

    assert knowing - {"channel.py"} == set(READERS)


@pytest.mark.parametrize(
    "line",
    [
        "channel.has_unknown_state = False",
        "channel._dirty.add(name)",
        "channel.dirty.add(name)",
        "channel.client_resources[name] = resource",
        "del client_resources[name]",
        "client_resources.update(new)",
        "channel.dirty |= names",
        "hosts._subscription.drop(names)",
    ],
)
def test_such_a_write_is_found(line: str) -> None:
    assert set(writes(line)) == {1}


def test_what_is_read_of_a_channel_cannot_be_assigned() -> None:
    channel = Channel("type")

    for name in sorted(field.name.removeprefix("_") for field in fields(Channel) if field.name.startswith("_")):
        if name != "subscription":
            with pytest.raises(AttributeError):
                setattr(channel, name, None)
    assert isinstance(channel._subscription, Subscription)


def test_the_state_of_a_name_is_read_from_what_happened_to_it() -> None:
    channel = Channel(cluster("a").type_url)

    assert (channel.state_of("a"), channel.client_has("a")) == (State.UNASKED, Has.NOTHING)
    channel.subscribe(["a"])
    channel.force(["a"])
    assert (channel.state_of("a"), channel.client_has("a")) == (State.FORCED, Has.NOTHING)
    channel.launch("1", "", [cluster("a")], [], {"a"})
    assert (channel.state_of("a"), channel.client_has("a")) == (State.IN_FLIGHT, Has.NOTHING)
    assert channel.flight is not None
    channel.accept(channel.flight)
    assert (channel.state_of("a"), channel.client_has("a")) == (State.CLEAN, Has.KNOWN)


def test_the_page_about_the_protocol_shows_the_table() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text()

    states = "\n".join(f"| {state.name} | {state.value} |" for state in State)
    assert states in page
    assert rows(TRANSITIONS) in page
    assert rows(OF_VIRTUAL_HOSTS) in page


def rows(table: Transitions) -> str:
    """Return ``table`` as rows of Markdown: a method, the states before, the states after."""
    lines = []
    for method, moves in table.items():
        by_after: dict[str, list[str]] = {}
        for before, afters in moves.items():
            by_after.setdefault(", ".join(state.name for state in State if state in afters), []).append(before.name)
        lines += [f"| `{method}` | {', '.join(before)} | {after} |" for after, before in by_after.items()]
    return "\n".join(lines)
