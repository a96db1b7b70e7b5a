"""A file that is being written is read when it is whole, and one that was moved into its place at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from controlplane.objects.types.scalars import Model
from controlplane.sources.files import settling
from tests.support.document_problems import document_problems
from tests.support.manifests import service
from tests.support.waiting import DEADLINE_S, until, within
from tests.support.watched_folder import watching

DENY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: lock
  namespace: shop
spec:
  action: DENY
  rules:
  - to:
    - operation:
        paths:
        - {path}
"""


def renamed(path: Path, text: str) -> None:
    draft = path.with_suffix(".yaml~")
    draft.write_text(text)
    draft.replace(path)


def written(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.mark.parametrize(("save", "within_s"), [(renamed, 0.03), (written, 0.1)])  # a few milliseconds, and until it is quiet
async def test_a_save_is_told_at_once(tmp_path: Path, save: Callable[[Path, str], None], within_s: float) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))

    async with watching(tmp_path) as watched:
        took = []
        for port in range(81, 91):
            began = time.perf_counter()
            save(tmp_path / "a.yaml", service("a", port))
            await until(partial(watched.has, "a", port))
            took.append(time.perf_counter() - began)

    assert sorted(took)[5] < within(within_s)


async def test_a_file_that_is_written_bit_by_bit_is_read_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "QUIET_S", 1.0)
    monkeypatch.setattr(settling, "MOST_S", DEADLINE_S)
    (tmp_path / "policy.yaml").write_text(DENY.format(path="/vault"))

    async with watching(tmp_path) as watched:
        with (tmp_path / "policy.yaml").open("w", buffering=1) as file:
            for line in DENY.format(path="/cellar").splitlines(keepends=True):
                file.write(line)
                await asyncio.sleep(0.02)  # what is waited for is the time, in which half a file would be read
        await until(lambda: len(watched.batches) > 1)
        problems = [located.problem.code for located in document_problems(watched.source.locations())]

    paths = [change.object.model_dump_json() for batch in watched.batches for change in batch if isinstance(change.object, Model)]
    assert [("/vault" in path, "/cellar" in path) for path in paths] == [(True, False), (False, True)]
    assert problems == []


async def test_a_file_that_is_written_to_without_end_is_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "QUIET_S", DEADLINE_S)
    monkeypatch.setattr(settling, "MOST_S", 0.3)
    (tmp_path / "a.yaml").write_text(service("a"))

    async with watching(tmp_path) as watched:
        with (tmp_path / "a.yaml").open("w", buffering=1) as file:
            file.write(service("a", 81))
            while not watched.has("a", 81):
                file.write("# and more\n")
                await asyncio.sleep(0.01)


async def test_a_file_that_is_moved_into_its_place_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "QUIET_S", 2 * DEADLINE_S)
    monkeypatch.setattr(settling, "MOST_S", 2 * DEADLINE_S)
    (tmp_path / "a.yaml").write_text(service("a"))

    async with watching(tmp_path) as watched:
        renamed(tmp_path / "a.yaml", service("a", 81))

        await until(partial(watched.has, "a", 81))
