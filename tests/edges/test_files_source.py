"""The source ``files`` on a real disk."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from controlplane.model.keys import Key
from controlplane.sources.files import source as files_source
from controlplane.sources.files.manifest import ParsedFile, UnreadableFile, parse_file
from controlplane.sources.files.source import FileSource
from tests.support.manifests import service
from tests.support.waiting import DEADLINE_S, until, within
from tests.support.watched_folder import Watched, watching


async def test_the_first_batch_is_all_there_is(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "a.yaml").write_text(service("a") + "---\n" + service("b"))
    (tmp_path / "deep" / "er" / "c.yml").write_text(service("c"))
    (tmp_path / "d.json").write_text(
        '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "d", "namespace": "shop"}, "spec": {"ports": [{"port": 80}]}}'
    )

    async with watching(tmp_path) as watched:
        first, *others = watched.batches

    assert {change.key.name for change in first} == {"a", "b", "c", "d"}
    assert others == []


async def test_a_large_file_that_takes_long_holds_no_other_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_source, "_LARGE", 1000)
    may_end = threading.Event()

    def slow_if_large(text: str | UnreadableFile, before: ParsedFile | None = None, out_of_time: Callable[[], bool] = bool) -> ParsedFile:
        if len(str(text)) > 1000:
            assert may_end.wait(DEADLINE_S)
        return parse_file(text, before, out_of_time)

    async with watching(tmp_path) as watched:
        monkeypatch.setattr(files_source, "parse_file", slow_if_large)
        (tmp_path / "large.yaml").write_text("# long\n" * 1000 + service("large"))
        (tmp_path / "small.yaml").write_text(service("small"))

        await until(lambda: watched.has("small", 80))
        assert "large" not in watched.ports

        may_end.set()
        await until(lambda: watched.has("large", 80))


async def test_an_empty_folder_is_synced_too(tmp_path: Path) -> None:
    async with watching(tmp_path) as watched:
        assert watched.batches == [()]


async def test_until_it_can_be_read_which_objects_a_file_gives_nothing_is_handed_on(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))
    (tmp_path / "b.yaml").write_text(service("b") + "---\nkind: [\n")
    watched = Watched(FileSource(str(tmp_path)))

    task = asyncio.create_task(watched.source.run(watched.batches.append))
    await until(watched.source.not_ready)
    reason, batches = watched.source.not_ready(), list(watched.batches)
    (tmp_path / "b.yaml").write_text(service("b", 81))
    await until(lambda: watched.batches)
    mended = watched.source.not_ready()
    (tmp_path / "b.yaml").write_text("kind: [\n")
    (tmp_path / "c.yaml").write_text(service("c"))
    await until(partial(watched.has, "c", 80))
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

    assert reason is not None
    assert reason.startswith(f"{tmp_path}/b.yaml:12: ")
    assert (batches, mended, watched.source.not_ready()) == ([], None, None)
    assert watched.ports == {"a": 80, "b": 81, "c": 80}


async def test_files_that_come_and_go_and_are_renamed_are_followed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))

    async with watching(tmp_path) as watched:
        (tmp_path / "new" / "folder").mkdir(parents=True)
        (tmp_path / "new" / "folder" / "b.yaml").write_text(service("b"))
        await until(lambda: watched.ports == {"a": 80, "b": 80})
        (tmp_path / "new").rename(tmp_path / "renamed")
        await until(lambda: str(tmp_path / "renamed") in str(watched.source.locations().location(next(iter(watched.batches[-1])).key, "")))
        (tmp_path / "a.yaml").unlink()
        await until(lambda: watched.ports == {"b": 80})
        (tmp_path / "renamed" / "folder" / "b.yaml").replace(tmp_path / ".hidden.yaml")
        await until(lambda: watched.ports == {})


async def test_a_save_by_renaming_over_the_file_deletes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))

    async with watching(tmp_path) as watched:
        for port in range(81, 101):
            (tmp_path / "a.yaml.tmp").write_text(service("a", port))
            (tmp_path / "a.yaml.tmp").replace(tmp_path / "a.yaml")
        await until(lambda: watched.ports == {"a": 100})

    assert all(change.object is not None for batch in watched.batches for change in batch)


async def test_an_editor_that_moves_the_old_file_away_first_deletes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))

    async with watching(tmp_path) as watched:
        for port in range(81, 101):
            (tmp_path / "a.yaml").replace(tmp_path / "a.yaml~")
            (tmp_path / "a.yaml").write_text(service("a", port))
        await until(lambda: watched.ports == {"a": 100})

    assert all(change.object is not None for batch in watched.batches for change in batch)


async def test_a_shell_that_writes_slowly_deletes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))

    async with watching(tmp_path) as watched:
        shell = await asyncio.create_subprocess_exec("sh", "-c", f"cat > {tmp_path}/a.yaml", stdin=asyncio.subprocess.PIPE)
        await until(lambda: watched.source.locations().location(Key("Service", "shop", "a"), "") and not (tmp_path / "a.yaml").read_text())
        await shell.communicate(service("a", 81).encode())
        await until(lambda: watched.ports == {"a": 81})

    assert all(change.object is not None for batch in watched.batches for change in batch)


async def test_an_emptied_file_is_empty_after_a_second(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))

    async with watching(tmp_path) as watched:
        began = time.monotonic()
        (tmp_path / "a.yaml").write_text("")
        await until(lambda: watched.ports == {})

    assert time.monotonic() - began >= 1.0


async def test_a_mounted_config_map_is_followed_through_its_links(tmp_path: Path) -> None:
    for version, port in (("..1", 80), ("..2", 81)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.yaml").write_text(service("a", port))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")

    async with watching(tmp_path) as watched:
        before = watched.ports
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        await until(lambda: watched.ports == {"a": 81})

    assert before == {"a": 80}
    assert len(watched.batches) == 2


async def test_a_folder_that_is_a_link_is_followed_where_it_leads_next(tmp_path: Path) -> None:
    for version, port in (("one", 80), ("two", 81)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.yaml").write_text(service("a", port))
    (tmp_path / "current").symlink_to("one")

    async with watching(tmp_path / "current") as watched:
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").replace(tmp_path / "current")
        await until(lambda: watched.ports == {"a": 81})


async def test_a_folder_that_is_gone_deletes_nothing_and_another_in_its_place_is_found(tmp_path: Path) -> None:
    root = tmp_path / "manifests"
    root.mkdir()
    (root / "a.yaml").write_text(service("a"))
    (tmp_path / "next").mkdir()
    (tmp_path / "next" / "a.yaml").write_text(service("a", 81))

    async with watching(root) as watched:
        root.rename(tmp_path / "away")
        (tmp_path / "next").rename(root)
        await until(lambda: watched.ports == {"a": 81})
        (root / "a.yaml").write_text(service("a", 82))
        await until(lambda: watched.ports == {"a": 82})

    assert all(change.object is not None for batch in watched.batches for change in batch)


async def test_the_event_loop_is_not_held_while_a_thousand_files_are_read(tmp_path: Path) -> None:
    for at in range(1000):
        (tmp_path / f"{at}.yaml").write_text(service(f"s{at}"))
    worst = 0.0
    watched = Watched(FileSource(str(tmp_path)))
    task = asyncio.create_task(watched.source.run(watched.batches.append))

    while not watched.batches:
        began = time.perf_counter()
        await asyncio.sleep(0)
        worst = max(worst, time.perf_counter() - began)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

    print(f"1,000 files: the loop was held {worst * 1000:.0f} ms at most")
    assert len(watched.batches[0]) == 1000
    assert worst < within(0.25)
