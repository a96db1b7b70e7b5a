"""The authority in a folder: whoever is killed, whoever else writes, what is stored is whole, and nobody else's to read."""

from __future__ import annotations

import asyncio
import stat
import sys
from pathlib import Path

import pytest

from controlplane.app.identity import SIGNING_KEY_FILE
from controlplane.ca.certificates import BadCertificate, key_pem
from controlplane.ca.file_store import WRITE_STEPS, BadFolder, FileStore
from controlplane.ca.manager import AuthorityManager, PluggedIn, stored_key
from controlplane.ca.rotation import AuthorityState, OutOfOrder, Phase, load_state, prepare
from controlplane.serve.identity import make_key, now
from tests.support.authority_writer import KEY, STEPS

BEFORE = {"begin": None, "prepare": Phase.STEADY, "activate": Phase.PREPARED, "retire": Phase.ACTIVATED}
AFTER = {"begin": Phase.STEADY, "prepare": Phase.PREPARED, "activate": Phase.ACTIVATED, "retire": Phase.STEADY}


def stored(folder: Path) -> AuthorityState | None:
    found = FileStore(folder).read_now()
    return load_state(found) if found is not None else None


async def killed(step: str, folders: dict[str, Path]) -> set[str]:
    """Have a writer killed in each of ``folders``, by the point at which it dies; return how they ended."""
    command = (sys.executable, "-m", "tests.support.authority_writer", step, *map(str, folders.values()))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    ends = said.decode().split()
    assert len(ends) == len(WRITE_STEPS) == len(folders) == 8
    return set(ends)


def by_point(root: Path) -> dict[str, Path]:
    """Return a folder for each point, which is called by it."""
    return {point: root / point.replace(" ", "-") for point in WRITE_STEPS}


def check_modes(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for each in folder.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) == 0o600, each


@pytest.mark.parametrize("step", STEPS)
async def test_s31_a_writer_that_is_killed_leaves_one_state_or_the_other(tmp_path: Path, step: str) -> None:
    folders, was = by_point(tmp_path), dict[str, AuthorityState | None]()
    for point, folder in folders.items():
        keeper = AuthorityManager(FileStore(folder), make_key, now)
        for before in list(STEPS)[: list(STEPS).index(step)]:
            await (keeper.open() if before == "begin" else keeper.step(STEPS[before]))
        was[point] = stored(folder)

    assert await killed(step, folders) == {"-9"}

    for point, folder in folders.items():
        found, before_it = stored(folder), was[point]
        phase = found.phase if found else None
        assert phase is (AFTER[step] if WRITE_STEPS.index(point) >= WRITE_STEPS.index("renamed") else BEFORE[step]), point
        assert phase is AFTER[step] or (found.bundle if found else None) == (before_it.bundle if before_it else None)
        check_modes(folder)
        again = AuthorityManager(FileStore(folder), make_key, now)
        await again.open()  # whoever comes after goes on from there
        if phase is BEFORE[step] and step != "begin":
            assert (await again.step(STEPS[step])).phase is AFTER[step]


async def test_s31_a_writer_of_a_key_that_is_killed_leaves_a_whole_key_or_none(tmp_path: Path) -> None:
    folders = by_point(tmp_path)

    assert await killed(KEY, folders) == {"-9"}

    for point, folder in folders.items():
        store = FileStore(folder, SIGNING_KEY_FILE)
        left = store.read_now()
        assert (left is not None) == (WRITE_STEPS.index(point) >= WRITE_STEPS.index("renamed")), point
        check_modes(folder)
        assert left is None or key_pem(await stored_key(store, make_key)) == left
        assert await stored_key(store, make_key)  # whoever comes after goes on from there


async def test_s34_two_that_begin_at_once_have_one_root(tmp_path: Path) -> None:
    for turn in range(5):
        keepers = [AuthorityManager(FileStore(tmp_path / str(turn)), make_key, now) for _ in range(4)]
        await asyncio.gather(*(each.open() for each in keepers))

        assert len({each.state.bundle_id for each in keepers}) == 1


async def test_two_that_rotate_at_once_do_it_once(tmp_path: Path) -> None:
    keepers = [AuthorityManager(FileStore(tmp_path / "state"), make_key, now) for _ in range(4)]
    await keepers[0].open()

    done = await asyncio.gather(*(each.step(STEPS["prepare"]) for each in keepers), return_exceptions=True)

    assert sum(isinstance(each, AuthorityState) for each in done) == 1
    assert sum(isinstance(each, OutOfOrder) for each in done) == 3


async def test_t67_a_folder_that_others_can_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    keeper = AuthorityManager(FileStore(tmp_path / "state"), make_key, now)
    await keeper.open()
    (tmp_path / "state" / "authority.json").chmod(0o640)
    with pytest.raises(BadFolder, match="chmod 600"):
        await AuthorityManager(FileStore(tmp_path / "state"), make_key, now).open()
    (tmp_path / "state" / "authority.json").chmod(0o600)
    (tmp_path / "state").chmod(0o755)
    with pytest.raises(BadFolder, match="chmod 700"):
        await AuthorityManager(FileStore(tmp_path / "state"), make_key, now).open()


async def test_a_link_is_not_followed(tmp_path: Path) -> None:
    keeper = AuthorityManager(FileStore(tmp_path / "state"), make_key, now)
    await keeper.open()
    file = tmp_path / "state" / "authority.json"
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic link"):
        await AuthorityManager(FileStore(tmp_path / "state"), make_key, now).open()


async def test_a_key_is_made_once(tmp_path: Path) -> None:
    keys = await asyncio.gather(*(stored_key(FileStore(tmp_path / "state", "tokens.pem"), make_key) for _ in range(4)))

    assert len({each.private_numbers().private_value for each in keys}) == 1


async def test_what_somebody_else_signs_with_is_not_rotated_here(tmp_path: Path) -> None:
    keeper = AuthorityManager(FileStore(tmp_path / "state"), make_key, now)
    await keeper.open()
    signer = keeper.state.signing.signer
    files = {"ca-cert.pem": signer.pem, "ca-key.pem": key_pem(signer.key), "cert-chain.pem": b"", "root-cert.pem": signer.pem}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    plugged = AuthorityManager(PluggedIn(tmp_path), make_key, now)
    await plugged.open()

    assert plugged.state.bundle == keeper.state.bundle
    with pytest.raises(OutOfOrder, match="plugged in"):
        await plugged.step(lambda state: prepare(state, keeper.state.signing.__class__(signer, b"another")))


async def test_an_authority_as_cert_manager_writes_it_is_plugged_in_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    keeper = AuthorityManager(FileStore(tmp_path / "state"), make_key, now)
    await keeper.open()
    signer = keeper.state.signing.signer
    for name, content in {"tls.crt": signer.pem, "tls.key": key_pem(signer.key), "ca.crt": signer.pem}.items():
        (tmp_path / name).write_bytes(content)

    plugged = AuthorityManager(PluggedIn(tmp_path), make_key, now)
    await plugged.open()
    (tmp_path / "ca.crt").write_bytes(b"nothing")

    assert plugged.state.bundle == keeper.state.bundle
    with pytest.raises(BadCertificate, match=r": ca\.crt: expected"):
        await AuthorityManager(PluggedIn(tmp_path), make_key, now).open()
