"""Holds channels to their table of transitions: what each method does to each name is compared with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, KeysView
from contextlib import contextmanager
from functools import wraps
from inspect import isfunction

from controlplane.xds.channel import OF_VIRTUAL_HOSTS, TRANSITIONS, Channel, State
from controlplane.xds.resource import Resource
from controlplane.xds.vhds import HostsChannel

QUESTIONS = ("state_of", "client_has")
WRITERS = [name for name, method in vars(Channel).items() if isfunction(method) and name[0] != "_" and name not in QUESTIONS]

Step = tuple[str, State, State]  # (method, before, after)


class Recorder:
    """What was seen of all channels."""

    def __init__(self) -> None:
        self.steps: set[Step] = set()
        self._left: dict[int, tuple[Channel, object]] = {}  # how the last writer left each channel
        self._running = False

    def watch(self, name: str, method: Callable[..., object]) -> Callable[..., object]:
        @wraps(method)
        def watched(channel: Channel, *args: object) -> object:
            if self._running:  # a writer that another one calls is a part of it
                return method(channel, *args)
            listed = [list(arg) if isinstance(arg, Iterator) else arg for arg in args]  # to be read twice
            mentioned = _open_names(channel) | {name for arg in listed for name in _names(arg)}
            before = {each: channel.state_of(each) for each in mentioned}
            self._check_one_writer(channel, name)
            self._running = True
            try:
                result = method(channel, *listed)
            finally:
                self._running = False
            self._left[id(channel)] = channel, _copy(channel)
            for each, state in before.items():
                self._check(channel, name, state, channel.state_of(each))
            return result

        return watched

    def _check(self, channel: Channel, method: str, before: State, after: State) -> None:
        if before is not after:
            self.steps.add((method, before, after))
            tables = (TRANSITIONS, OF_VIRTUAL_HOSTS) if isinstance(channel, HostsChannel) else (TRANSITIONS,)
            legal = any(after in table.get(method, {}).get(before, ()) for table in tables)
            assert legal, f"{channel.type_url}: {method}: {before.name} > {after.name}"

    def _check_one_writer(self, channel: Channel, method: str) -> None:
        if id(channel) in self._left:
            assert self._left[id(channel)][1] == _copy(channel), f"before {method}, something else wrote to the channel"


@contextmanager
def recorded() -> Iterator[Recorder]:
    """Watch every channel meanwhile."""
    recorder = Recorder()
    methods = {name: vars(Channel)[name] for name in WRITERS}
    for name, method in methods.items():
        setattr(Channel, name, recorder.watch(name, method))
    try:
        yield recorder
    finally:
        for name, method in methods.items():
            setattr(Channel, name, method)


def _names(argument: object) -> Iterator[str]:
    match argument:
        case str():
            yield argument
        case Resource():
            yield argument.name
        case list() | tuple() | set() | frozenset() | KeysView():
            for each in argument:
                yield from _names(each)
        case _:
            pass


def _open_names(channel: Channel) -> set[str]:
    before = channel.flight.names if channel.flight else frozenset[str]()
    sets = (channel.client_resources, channel.named, channel.dirty, channel.forced, channel.suspects, channel.refused, before)
    return set().union(*sets)


def _copy(channel: Channel) -> object:
    return (
        channel.client_resources,
        set(channel.named),
        channel.wildcard,
        set(channel.dirty),
        set(channel.forced),
        channel.flight,
        set(channel.suspects),
        [set(part) for part in channel.parts],
        dict(channel.refused),
        {name: set(others) for name, others in channel.refused_together.items()},
        dict(channel.maybe_applied),
        (channel.must_answer, channel.answered, channel.has_unknown_state),
    )
