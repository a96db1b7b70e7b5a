"""When a file that has changed is read: when it has been quiet for a moment, and not never."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.sources.files.reading import FileState
from controlplane.sources.files.settling import MOST_S, QUIET_S, SettlingFiles

NOTHING: frozenset[str] = frozenset()


def sized(size: int) -> FileState:
    return FileState((1, 1, size), size, plain=True)


def read_at(times: Sequence[float], sizes: Sequence[int]) -> list[float]:
    """Return when a file is read that has one of ``sizes`` at each of ``times``."""
    files = SettlingFiles()
    return [now for now, size in zip(times, sizes, strict=True) if files.quiet({"a": sized(size)}, NOTHING, now)]


def test_a_file_is_read_when_it_has_been_as_it_is_for_a_moment() -> None:
    files = SettlingFiles()

    first = files.quiet({"a": sized(1)}, NOTHING, 0.0)
    due = files.due
    early = files.quiet({"a": sized(1)}, NOTHING, QUIET_S / 2)
    later = files.quiet({"a": sized(1)}, NOTHING, QUIET_S)

    assert (first, due, early, later) == (set(), QUIET_S, set(), {"a"})
    assert (files.due, files.paths) == (None, set())


def test_each_write_puts_it_off() -> None:
    assert read_at([0.0, 0.04, 0.08, 0.12, 0.2], [1, 2, 3, 4, 4]) == [0.2]


def test_one_that_is_written_without_end_is_read_now_and_then() -> None:
    times = [number / 100 for number in range(250)]

    assert read_at(times, range(250)) == [MOST_S, 2 * MOST_S + 0.01]


def test_one_that_is_gone_for_a_moment_is_the_file_that_comes() -> None:
    files = SettlingFiles()

    gone = files.quiet({"a": None}, NOTHING, 0.0)
    comes = files.quiet({"a": sized(1)}, NOTHING, 0.03)
    later = files.quiet({}, NOTHING, 0.09)

    assert (gone, comes, later) == (set(), set(), {"a"})


def test_one_that_was_moved_into_its_place_is_read_at_once() -> None:
    files = SettlingFiles()
    files.quiet({"b": sized(1)}, NOTHING, 0.0)

    assert files.quiet({"a": sized(2)}, {"a"}, 0.0) == {"a"}
    assert files.paths == {"b"}
