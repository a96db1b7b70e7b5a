"""The page on installation names what is there, and all that matters; that its commands work is a test with a real API server."""

from __future__ import annotations

import re

import pytest

from tests.support.rbac_rights import rights
from tests.support.rendered_manifests import PAGE, ROOT, objects, only, page_commands, rendered, words


def test_the_page_names_only_what_is_there() -> None:
    named = re.findall(r"manifests/[\w./-]*\w", PAGE)
    if not (ROOT / "manifests" / "crds").exists():
        pytest.skip("not run: there is no manifests/crds; `navarch crds` writes it")

    assert [path for path in named if not (ROOT / path).exists()] == []
    assert {path for line in page_commands() for path in re.findall(r"manifests/\S+", line)} <= set(named)


def test_the_page_names_all_that_is_read_in_the_whole_cluster() -> None:
    everywhere = {each.resource for each in rights(rendered("base"), account="navarch", namespace="navarch-system") if not each.namespace}
    [webhook] = objects(only("base", "ValidatingWebhookConfiguration", "navarch-validator")["webhooks"])
    of_the_mesh = {kind for rule in objects(webhook["rules"]) for kind in words(rule["resources"])}

    told = {
        "customresourcedefinitions": "CRDs",
        "validatingwebhookconfigurations": "navarch-validator",
        "mutatingwebhookconfigurations": "navarch-injector",
    }

    said = PAGE.lower()
    others = [each for each in everywhere - of_the_mesh if "/" not in each]
    assert [each for each in others if told.get(each, each).lower() not in said] == []


def test_the_page_asks_for_this_version_and_this_base() -> None:
    [base] = re.findall(r"^ARG PYTHON=(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    [version] = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)

    assert f"navarch:{version} " in PAGE
    assert f"PYTHON={base}@sha256:" in PAGE
