"""Navarch's rights in a cluster are the least, as far as that can be seen without one."""

from __future__ import annotations

import pytest

from controlplane.model.keys import NAVARCH
from tests.support.rbac_rights import Right, Use, compare, rights
from tests.support.rendered_manifests import SETS, objects, only, rendered, words

every_set = pytest.mark.parametrize("of", SETS)


def granted(of: str) -> frozenset[Right]:
    """Return what Navarch's ServiceAccount may do."""
    return rights(rendered(of), account="navarch", namespace="navarch-system")


def is_custom(group: str) -> bool:
    """Return whether ``group`` has kinds of a mesh, Istio's or our own."""
    return group.endswith(".istio.io") or group == NAVARCH


@every_set
def test_the_webhook_is_asked_about_the_kinds_that_are_read_and_no_others(of: str) -> None:
    [webhook] = objects(only(of, "ValidatingWebhookConfiguration", "navarch-validator")["webhooks"])

    asked = {
        (group, kind)
        for rule in objects(webhook["rules"])
        for group in words(rule["apiGroups"])
        for kind in words(rule["resources"])
        if words(rule["operations"]) == ("CREATE", "UPDATE")
    }

    read = {(right.group, right.resource) for right in granted(of) if is_custom(right.group) and right.verb == "watch"}
    assert asked == read
    assert len(asked) == 17


@every_set
def test_status_can_be_written_of_every_kind_that_is_read_and_else_only_entries_of_machines(of: str) -> None:
    custom = {right for right in granted(of) if is_custom(right.group)}

    read = {(right.group, right.resource) for right in custom if "/" not in right.resource}
    written = {(right.group, right.resource) for right in custom if right.verb not in {"list", "watch"}}

    entries = ("networking.istio.io", "workloadentries")
    assert written == {entries, *((group, f"{kind}/status") for group, kind in read)}


@every_set
def test_t68_rights_are_spelt_out(of: str) -> None:
    risky = {"*", "escalate", "bind", "impersonate", "deletecollection", "proxy", "approve", "sign"}

    assert [right for right in granted(of) if {right.verb, right.group, right.resource} & risky] == []
    assert {each["kind"] for each in rendered(of) if "subjects" in each} == {"ClusterRoleBinding", "RoleBinding"}


@every_set
def test_t68_secrets_are_read_in_the_root_namespace_and_by_name_at_home(of: str) -> None:
    secrets = {(right.namespace, right.name, right.verb) for right in granted(of) if right.resource == "secrets"}

    assert {each for each in secrets if each[0] not in {"istio-system", "navarch-system"}} == set()
    assert {each for each in secrets if each[0] == "navarch-system" and not each[1]} == {("navarch-system", "", "create")}
    assert {verb for namespace, _, verb in secrets if namespace == "istio-system"} == {"list", "watch"}


@every_set
def test_t68_beyond_its_own_namespace_only_status_events_roots_and_entries_of_machines_are_written(of: str) -> None:
    writing = {right for right in granted(of) if right.verb not in {"get", "list", "watch"} and right.namespace != "navarch-system"}

    elsewhere = {(right.resource, right.name) for right in writing if not right.resource.endswith("/status")}

    assert elsewhere == {
        ("configmaps", ""),
        ("configmaps", "istio-ca-root-cert"),
        ("events", ""),
        ("subjectaccessreviews", ""),
        ("tokenreviews", ""),
        ("mutatingwebhookconfigurations", "navarch-injector"),
        ("validatingwebhookconfigurations", "navarch-validator"),
        ("workloadentries", ""),
    }
    assert {right.verb for right in writing if right.resource == "configmaps" and not right.name} == {"create"}


def test_rights_are_compared_both_ways() -> None:
    granted = frozenset({Right("list", "", "pods"), Right("get", "", "secrets", "a", "x"), Right("watch", "", "nodes")})

    verdict = compare(granted, frozenset({Use("list", "", "pods", "b"), Use("get", "", "secrets", "a", "y")}), frozenset())

    assert verdict.not_granted == (Use("get", "", "secrets", "a", "y"),)
    assert verdict.not_used == (Right("get", "", "secrets", "a", "x"), Right("watch", "", "nodes"))
