"""Secrets and ConfigMaps: what is read of them, and that no message and no representation tells any of it."""

from __future__ import annotations

import base64

import pytest

from controlplane.model.problems import Severity
from controlplane.objects.kubernetes.secrets import ConfigMap, Secret
from controlplane.objects.parse import Object, parse

CANARY = "canary-of-the-tests"


def secret(**more: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x", "namespace": "edge"}, **more}


def entries(value: Object | None) -> dict[str, bytes]:
    assert isinstance(value, Secret | ConfigMap)
    return dict(value.entries)


def test_certificates_and_keys_are_read_in_both_forms_and_nothing_else() -> None:
    data = {"tls.crt": base64.encodebytes(b"c" * 100).decode(), "password": "cGFzcw=="}

    found = parse(secret(type="kubernetes.io/tls", data=data, stringData={"tls.key": "k", "token": "t"}))

    assert found.problems == ()
    assert entries(found.object) == {"tls.crt": b"c" * 100, "tls.key": b"k"}


def test_an_authority_may_be_in_a_config_map() -> None:
    found = parse({**secret(data={"ca.crt": "roots"}), "kind": "ConfigMap"})

    assert entries(found.object) == {"ca.crt": b"roots"}


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
def test_a_name_that_no_object_can_have_is_an_error(kind: str) -> None:
    found = parse({**secret(data={"ca.crt": "cm9vdHM="}), "kind": kind, "metadata": {"name": "\x1f"}})

    assert found.object is None
    assert [(each.severity, each.field) for each in found.problems] == [(Severity.ERROR, "metadata.name")]


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
def test_one_that_has_nothing_for_a_mesh_is_passed_over(kind: str) -> None:
    found = parse({**secret(data={"other": "eA=="}), "kind": kind})

    [problem] = found.problems
    assert (problem.severity, problem.code) == (Severity.INFO, "KindIgnored")
    assert entries(found.object) == {}


@pytest.mark.parametrize("data", [CANARY, {"tls.key": CANARY + "!"}, {"tls.key": [CANARY]}, [CANARY]])
def test_s46_what_is_wrong_is_told_without_what_stood_there(data: object) -> None:
    found = parse(secret(data=data))

    [problem] = found.problems
    assert (problem.severity, problem.field) == (Severity.ERROR, "data")
    assert "expected an object of texts" in problem.message
    assert CANARY not in str(found)


def test_s46_the_content_is_no_part_of_what_is_shown() -> None:
    found = parse(secret(stringData={"tls.key": CANARY})).object

    assert entries(found) == {"tls.key": CANARY.encode()}
    assert CANARY not in f"{found!r} {found}"
