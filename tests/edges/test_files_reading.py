"""Which files of a folder are read, and which never."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from controlplane.sources.files import reading
from controlplane.sources.files.manifest import UnreadableFile
from controlplane.sources.files.reading import manifest_files, read_file


def names(root: Path) -> list[str]:
    return sorted(os.path.relpath(path, root) for path in manifest_files(str(root)))


def refusal(root: Path, path: Path) -> str:
    found = read_file(str(root), str(path))
    assert isinstance(found, UnreadableFile)
    return found.reason


def test_only_manifests_are_read(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yml", "c.json", "d.txt", ".e.yaml", "f.yaml~", "g.yaml.swp", "#h.yaml#", "i.YAML", ".git/j.yaml", "k/l.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")

    assert names(tmp_path) == ["a.yaml", "b.yml", "c.json", "k/l.yaml"]


def test_a_link_within_the_folder_is_followed_and_one_out_of_it_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret.yaml").write_text("secret")
    (root / ".data").mkdir()
    (root / ".data" / "a.yaml").write_text("inside")
    (root / "a.yaml").symlink_to(".data/a.yaml")
    (root / "b.yaml").symlink_to("../outside/secret.yaml")
    (root / "c").symlink_to("../outside")
    (root / "d.yaml").symlink_to("nowhere.yaml")
    (root / "loop").symlink_to(".")

    assert names(root) == ["a.yaml", "b.yaml"]
    assert read_file(str(root), str(root / "a.yaml")) == "inside"
    assert "within the folder" in refusal(root, root / "b.yaml")
    assert "within the folder" in refusal(root, root / "c" / "secret.yaml")
    assert read_file(str(root), str(root / "d.yaml")) is None


def test_a_name_that_climbs_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "rooted").mkdir()
    (tmp_path / "rooted" / "secret.yaml").write_text("secret")

    assert "within the folder" in refusal(tmp_path / "root", tmp_path / "root" / ".." / "rooted" / "secret.yaml")


def test_a_file_that_two_paths_lead_to_is_found_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.yaml").write_text("")
    (tmp_path / "b").symlink_to("a")

    assert names(tmp_path) == ["a/x.yaml"]


def test_what_is_no_file_is_refused_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.yaml"))
        (tmp_path / "device.yaml").symlink_to("/dev/zero")

        assert refusal(tmp_path, tmp_path / "fifo.yaml") == "expected a regular file"
        assert refusal(tmp_path, tmp_path / "socket.yaml") == "expected a regular file"
        assert "within the folder" in refusal(tmp_path, tmp_path / "device.yaml")


def test_a_file_that_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "large.yaml").open("wb") as large:
        large.truncate(2 << 30)
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff")

    assert "at most" in refusal(tmp_path, tmp_path / "large.yaml")
    assert refusal(tmp_path, tmp_path / "binary.yaml") == "expected UTF-8 text; byte 3 is not"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfkind: List")

    assert read_file(str(tmp_path), str(tmp_path / "a.yaml")) == "kind: List"


def test_a_folder_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        manifest_files(str(tmp_path / "nowhere"))


def test_no_race_of_links_leads_out_of_the_folder(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "real", outside):
        folder.mkdir(parents=True)
    (root / "real" / "a.yaml").write_text("inside")
    (outside / "a.yaml").write_text("secret")
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for target in ("real", "../outside"):
                (root / "next").symlink_to(target)
                (root / "next").replace(root / "link")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        found = [read_file(str(root), str(root / "link" / "a.yaml")) for _ in range(1000)]
    finally:
        over.set()
        swapper.join()

    assert "secret" not in found
    assert reading.MAX_BYTES < 1 << 30
