"""What becomes of an object that cannot be used is said beside its mistakes."""

from __future__ import annotations

from controlplane.objects.parse import parse

GOOD: dict[str, object] = {"hosts": ["a.example"], "http": [{"route": [{"destination": {"host": "a.example"}}]}]}


def document(kind: str, group: str, spec: dict[str, object]) -> dict[str, object]:
    return {"apiVersion": f"{group}.istio.io/v1", "kind": kind, "metadata": {"name": "a", "namespace": "d"}, "spec": spec}


def test_its_last_good_version_stays_until_a_restart() -> None:
    before = parse(document("VirtualService", "networking", GOOD)).object

    fate = parse(document("VirtualService", "networking", {**GOOD, "http": 7})).fate(before)

    assert fate is not None
    assert (fate.code, str(fate.object)) == ("LastGood", "VirtualService/d/a")


def test_what_was_never_good_is_not_in_effect() -> None:
    fate = parse(document("VirtualService", "networking", {**GOOD, "http": 7})).fate(None)

    assert fate is not None
    assert fate.code == "NotInEffect"


def test_a_good_object_and_one_about_security_say_nothing_of_the_kind() -> None:
    good = parse(document("VirtualService", "networking", GOOD))
    policy = parse(document("AuthorizationPolicy", "security", {"action": "PERHAPS"}))

    assert good.fate(None) is None
    assert policy.problems
    assert policy.fate(None) is None
