"""The commands of identities where files are served, as processes: tokens, the authority, and what a proxy with an identity gets."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import stat
from pathlib import Path

import grpc
import pytest
import yaml
from cryptography import x509

from controlplane.app.identity import SIGNING_KEY_FILE
from controlplane.ca.file_store import FileStore
from controlplane.ca.manager import AuthorityManager, stored_key
from controlplane.ca.rotation import CACERTS, issuer_from_files, load_state, read_key
from controlplane.ca.tokens import verify_token
from controlplane.envoy.type_urls import SDS
from controlplane.serve.identity import make_key, now
from tests.support.cli import navarch
from tests.support.control_plane import next_delta
from tests.support.manifests import selecting, workload
from tests.support.secure_control_plane import asking, node, secure, stream
from tests.support.tls_secrets import gateway, pair, secret

CANARY = "canary-of-the-tests"
NODE = "sidecar~10.0.0.1~cart-1.shop~"


@pytest.fixture
def state(tmp_path: Path) -> str:
    """Return a folder as navarch serve --state leaves it."""

    async def begin(folder: Path) -> None:
        await stored_key(FileStore(folder, SIGNING_KEY_FILE), make_key)
        await AuthorityManager(FileStore(folder), make_key, now).open()

    asyncio.run(begin(tmp_path / "state"))
    return str(tmp_path / "state")


@pytest.mark.parametrize("command", [("ca", "show"), ("ca", "prepare"), ("token", "--namespace", "shop")])
def test_a_folder_that_is_not_there_is_refused_and_not_made(tmp_path: Path, command: tuple[str, ...]) -> None:
    found = navarch(*command, "--state", str(tmp_path / "stat"))

    assert found.returncode == 2
    assert "--state: expected a folder that navarch serve --state keeps its keys in" in " ".join(found.stderr.replace("'", "").split())
    assert not (tmp_path / "stat").exists()


def test_a_token_says_who_its_bearer_is_for_whom_and_until_when(state: str) -> None:
    found = navarch("token", "--state", state, "--namespace", "shop", "--service-account", "cart", "--lifetime", "60")

    stored = FileStore(Path(state), SIGNING_KEY_FILE).read_now()
    assert stored
    key, token = read_key(stored).public_key(), found.stdout.strip()
    said = verify_token(token, key, "istio-ca", now())
    assert (said.namespace, said.name) == ("shop", "cart")
    with pytest.raises(Exception, match="expired"):
        verify_token(token, key, "istio-ca", now() + dt.timedelta(minutes=2))
    assert stat.S_IMODE((Path(state) / SIGNING_KEY_FILE).stat().st_mode) == 0o600


def test_a_token_may_be_bound_to_a_pod(state: str) -> None:
    tokens = [navarch("token", "--state", state, "--namespace", "shop", *more).stdout.strip() for more in (("--pod", "cart-1"), ())]

    key = read_key(FileStore(Path(state), SIGNING_KEY_FILE).read_now() or b"").public_key()
    assert [verify_token(token, key, "istio-ca", now()).pod for token in tokens] == ["cart-1", ""]


@pytest.mark.parametrize("wrong", [("--namespace", "a b"), ("--namespace", "shop", "--lifetime", "0"), ()])
def test_a_token_for_nobody_is_refused_without_a_traceback(state: str, wrong: tuple[str, ...]) -> None:
    found = navarch("token", "--state", state, *wrong)

    assert (found.returncode, found.stdout) == (2, "")
    assert "Traceback" not in found.stderr


async def test_a_token_of_the_command_line_is_believed_by_the_control_plane_of_the_same_folder(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    async with secure(folder) as plane:
        made = await asyncio.to_thread(navarch, "token", "--state", str(plane.state), "-n", "default", "--service-account", "client")
        assert plane.running.at.xds_tls
        credentials = grpc.ssl_channel_credentials(plane.roots)
        async with stream(plane.running.at.xds_tls, credentials, token=made.stdout.strip()) as call:
            await call.write(asking(SDS, node(), "default"))
            assert [each.name for each in (await next_delta(call)).resources] == ["default"]


def test_the_authority_of_a_folder_is_shown_exported_and_rotated(state: str, tmp_path: Path) -> None:
    root = navarch("ca", "root", "--state", state).stdout
    shown = json.loads(navarch("ca", "show", "--state", state, "-o", "json").stdout)
    exported = navarch("ca", "export", str(tmp_path / "cacerts"), "--state", state)
    steps = [navarch("ca", *step.split(), "--state", state) for step in ("prepare", "activate --offline", "retire --offline")]
    after = navarch("ca", "root", "--state", state).stdout

    assert x509.load_pem_x509_certificate(root.encode()).subject
    assert (shown["phase"], len(shown["roots"])) == ("steady", 1)
    assert exported.returncode == 0
    assert (tmp_path / "cacerts" / "root-cert.pem").read_text() == root
    assert [each.returncode for each in steps] == [0, 0, 0]
    assert after != root
    assert not any("PRIVATE" in each.stdout for each in (exported, *steps))


def test_a_step_out_of_order_says_what_has_to_come_first(state: str) -> None:
    early = [navarch("ca", step, "--state", state, "--offline") for step in ("activate", "retire")]
    unasked = (navarch("ca", "prepare", "--state", state), navarch("ca", "activate", "--state", state, "--admin", "127.0.0.1:1"))[1]

    assert [each.returncode for each in (*early, unasked)] == [1, 1, 1]
    assert "expected a root that is prepared" in early[0].stderr
    assert "expected the new root to be activated" in early[1].stderr
    assert "cannot be asked" in unasked.stderr


def test_what_is_exported_can_be_plugged_in(state: str, tmp_path: Path) -> None:
    navarch("ca", "export", str(tmp_path / "cacerts"), "--state", state)
    stored = FileStore(Path(state)).read_now()
    assert stored

    exported = {name: (tmp_path / "cacerts" / name).read_bytes() for name in CACERTS}

    assert issuer_from_files(exported).fingerprint == load_state(stored).signing.fingerprint


def test_translate_shows_what_a_proxy_with_an_identity_gets_and_the_other(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text("\n---\n".join((selecting("cart", "cart"), workload("cart-1", "cart", "10.0.0.1"))))
    asked = ("translate", "-f", str(tmp_path), "--proxy", NODE, "-o", "json")

    found = navarch(*asked, "--metadata", '{"SERVICE_ACCOUNT": "cart"}').stdout
    without = navarch(*asked, "--no-identity").stdout

    assert ('"default"' in found, "DownstreamTlsContext" in found) == (True, True)
    assert "TlsContext" not in without
    bad = navarch(*asked, "--metadata", '{"SERVICE_ACCOUNT": "a/b"}')
    assert (bad.returncode, "SERVICE_ACCOUNT" in bad.stderr) == (2, True)


def test_s46_secrets_among_manifests_are_shown_by_no_command(tmp_path: Path) -> None:
    good, bad = secret(pair(), "good"), {**secret(pair(), "bad"), "stringData": {"tls.key": [CANARY]}}
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([good, bad, gateway(), {**good, "data": {"tls.crt": CANARY}}]))
    (tmp_path / "broken.yaml").write_text(f"apiVersion: v1\nkind: Secret\nstringData: {{tls.key: {CANARY}: [\n")

    ran = [
        navarch("validate", "-f", str(tmp_path)),
        navarch("validate", "-f", str(tmp_path), "-o", "json"),
        navarch("translate", "-f", str(tmp_path), "--proxy", NODE, "-o", "json"),
    ]

    said = "".join(each.stdout + each.stderr for each in ran)
    assert "Traceback" not in said
    assert ("PRIVATE" in said, CANARY in said) == (False, False)
    assert "expected an object of texts" in said
