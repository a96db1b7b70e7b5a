"""``navarch bootstrap``: what it prints, and what it says of what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controlplane.cli.main import app

HERE = ("bootstrap", "--xds", "127.0.0.1:15010", "--ip", "10.0.0.7", "--name", "vm-1")
FILES = ("--token", "/own/token", "--roots", "/own/roots.pem")


def said(*arguments: str) -> str:
    """Return what is said of ``arguments`` that cannot be."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    return " ".join(result.output.replace("│", " ").split())


def printed(*arguments: str) -> dict[str, dict[str, object]]:
    """Return the bootstrap that is printed."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, dict[str, object]] = json.loads(result.stdout)
    return found


def test_what_is_said_on_the_command_line_stands_in_it() -> None:
    options = ("--namespace", "shop", "--service-account", "cart", "--label", "app=cart", "--label", "v=", "--locality", "west/1")

    found = printed(*HERE, *options, "--type", "router", "--max-heap-mb", "64", "--sotw")

    assert found["node"] == {
        "id": "router~10.0.0.7~vm-1.shop~shop.svc.cluster.local",
        "cluster": "vm-1.shop",
        "metadata": {
            "NAME": "vm-1",
            "NAMESPACE": "shop",
            "SERVICE_ACCOUNT": "cart",
            "INTERCEPTION_MODE": "REDIRECT",
            "INSTANCE_IPS": "10.0.0.7",
            "RE2_MAX_PROGRAM_SIZE": 32768,
            "LABELS": {"app": "cart", "v": ""},
        },
        "locality": {"region": "west", "zone": "1"},
    }
    ads = found["dynamic_resources"]["ads_config"]
    assert isinstance(ads, dict)
    assert ads["api_type"] == "GRPC"
    assert '"max_heap_size_bytes": 67108864' in json.dumps(found["overload_manager"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--token", "/own/token"), "expected --token and --roots together"),
        (("--token", "token", "--roots", "/own/roots.pem"), "expected a path from the root of its machine, found 'token'"),
        (("--label", "app"), "expected NAME=VALUE, found 'app'"),
        (("--status", "everywhere"), "expected an IP address, found 'everywhere'"),
        (("--admin", "15000"), "expected HOST:PORT, found '15000'"),
        (("--admin", "localhost:" + "9" * 5000), "expected HOST:PORT, found 'localhost:9999"),
        (("--name", "vm~1"), "--name: expected a name of lower-case letters, digits, '-' and '.', found 'vm~1'"),
        (("--namespace", "a b"), "--namespace: expected a name of lower-case letters, digits and '-', found 'a b'"),
        (("--service-account", "x/y"), "--service-account: expected a name of lower-case letters, digits, '-' and '.', found 'x/y'"),
        (("--label", "app=a b"), "--label: expected a label value of at most 63 letters, digits, '-', '_' and '.', found 'a b'"),
        (("--ip", "fe80::1%eth0"), "expected an IP address, found 'fe80::1%eth0'"),
    ],
)
def test_what_cannot_be_is_told_with_what_was_expected(arguments: tuple[str, ...], words: str) -> None:
    assert words in said(*HERE, *arguments)


def test_a_file_has_to_hold_one_group_and_who_registers_itself_needs_a_token(tmp_path: Path) -> None:
    file = tmp_path / "group.yaml"
    file.write_text("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n")
    assert "expected one good WorkloadGroup" in said(*HERE, "-f", str(file), *FILES)

    file.write_text("apiVersion: networking.istio.io/v1\nkind: WorkloadGroup\nmetadata: {name: carts}\nspec: {template: {}}\n")
    assert "who registers itself has to show who it is" in said(*HERE, "-f", str(file))
    assert "hds_config" in printed(*HERE, "-f", str(file), *FILES)


def test_in_the_clear_nothing_is_reported(tmp_path: Path) -> None:
    assert "load_stats_config" not in json.dumps(printed(*HERE))
    assert "load_stats_config" in json.dumps(printed(*HERE, *FILES))


def test_statistics_are_kept_besides_those_that_always_are() -> None:
    usual = patterns(printed(*HERE))

    asked = patterns(printed(*HERE, "--stats-prefix", "cluster.outbound", "--stats-suffix", "ssl.handshake", "--stats-regexp", ".*rq_5xx"))

    assert [each for each in asked if each in usual] == usual
    assert [each for each in asked if each not in usual] == [
        {"prefix": "cluster.outbound"},
        {"suffix": "ssl.handshake"},
        {"safe_regex": {"regex": ".*rq_5xx"}},
    ]
    assert "expected an RE2 regular expression" in said(*HERE, "--stats-regexp", "a(")
    assert "expected a part of a name" in said(*HERE, "--stats-suffix", "")


def patterns(bootstrap: dict[str, dict[str, object]]) -> list[dict[str, object]]:
    """Return by what the statistics are chosen that ``bootstrap`` keeps."""
    matcher = bootstrap["stats_config"]["stats_matcher"]
    assert isinstance(matcher, dict)
    found: list[dict[str, object]] = matcher["inclusion_list"]["patterns"]
    return found
