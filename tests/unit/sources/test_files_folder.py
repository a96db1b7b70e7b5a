"""What a folder means, by what was read of its files: no disk, no clock."""

from __future__ import annotations

from controlplane.model.keys import Key
from controlplane.model.problems import Severity
from controlplane.objects.changes import Change
from controlplane.objects.kubernetes.core import KubernetesService
from controlplane.objects.mesh.mesh_config import MeshConfig
from controlplane.sources.files.folder import ManifestFolder
from controlplane.sources.files.manifest import ParsedFile, UnreadableFile, parse_file
from tests.support.document_problems import document_problems


def service(name: str, port: object = 80) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n  ports:\n  - port: {port}\n"


def key(name: str) -> Key:
    return Key("Service", "shop", name)


def ports(changes: tuple[Change, ...]) -> dict[str, int | None]:
    """Return the port of each changed Service, ``None`` for one that is gone."""
    found = {}
    for change in changes:
        assert change.object is None or isinstance(change.object, KubernetesService)
        found[change.key.name] = change.object.spec.ports[0].port if change.object else None
    return found


def read(*documents: str) -> ParsedFile:
    return parse_file("---\n".join(documents))


def test_all_files_of_one_look_are_one_batch() -> None:
    folder = ManifestFolder()

    changes = folder.take({"b.yaml": read(service("b")), "a.yaml": read(service("a"), service("c"))}, 0)

    assert ports(changes) == {"a": 80, "b": 80, "c": 80}


def test_only_what_says_something_else_changes() -> None:
    folder = ManifestFolder()
    folder.take({"a.yaml": read(service("a"), service("b"))}, 0)

    changes = folder.take({"a.yaml": read("# a comment\n" + service("a"), service("b", 81))}, 1)

    assert ports(changes) == {"b": 81}


def test_a_document_that_moved_within_its_file_is_not_read_again_and_knows_its_new_line() -> None:
    before = read(service("a"), service("b", 0), "kind: [\n")
    after = parse_file("---\n".join(("# new\n", service("c"), service("a"), service("b", 0), "kind: [\n")), before)
    anew = parse_file("---\n".join(("# new\n", service("c"), service("a"), service("b", 0), "kind: [\n")))

    assert after == anew
    assert [entry.line_of("spec.ports[0].port") for entry in after.entries] == [
        entry.line_of("spec.ports[0].port") for entry in anew.entries
    ]
    assert after.entries[2].parsed is before.entries[1].parsed


def test_a_broken_document_leaves_the_others_and_its_last_good_meaning() -> None:
    folder = ManifestFolder()
    folder.take({"a.yaml": read(service("a"), service("b"))}, 0)

    broken = folder.take({"a.yaml": read(service("a").replace("spec:", "spec: ]"), service("b", 81))}, 1)
    mended = folder.take({"a.yaml": read(service("a", 82), service("b", 81))}, 2)

    assert ports(broken) == {"b": 81}
    assert ports(mended) == {"a": 82}


def test_a_document_with_a_wrong_field_keeps_its_last_good_meaning_and_says_where() -> None:
    folder = ManifestFolder()
    folder.take({"a.yaml": read(service("b"), service("a"))}, 0)

    changes = folder.take({"a.yaml": read(service("b"), service("a", "'none'"))}, 1)
    [located] = document_problems(folder)

    assert changes == ()
    assert (located.problem.object, located.problem.severity) == (key("a"), Severity.ERROR)
    assert str(located.location) == "a.yaml:17"


def test_a_document_taken_out_of_a_readable_file_is_gone_when_that_has_been_so_for_a_moment() -> None:
    folder = ManifestFolder()
    folder.take({"a.yaml": read(service("a"), service("b"))}, 0)

    at_once = folder.take({"a.yaml": read(service("a", 81))}, 1)
    assert folder.due is not None
    later = folder.take({}, folder.due)

    assert (ports(at_once), ports(later)) == ({"a": 81}, {"b": None})
    assert folder.due is None


def test_a_file_that_is_written_bit_by_bit_never_loses_anything() -> None:
    folder = ManifestFolder()
    documents = [service(name) for name in "abcdefgh"]
    folder.take({"a.yaml": read(*documents)}, 0)

    changes = folder.take({"a.yaml": parse_file("")}, 10.0)
    for count in range(1, len(documents) + 1):
        changes += folder.take({"a.yaml": read(*documents[:count])}, 10.0 + count / 10)
        changes += folder.take({}, 10.05 + count / 10)

    assert changes == ()
    assert folder.due is None


def test_a_file_that_never_rests_loses_what_it_no_longer_gives_all_the_same() -> None:
    folder = ManifestFolder()
    folder.take({"a.yaml": read(service("a"), service("b"))}, 0)

    changes: tuple[Change, ...] = ()
    for tick in range(110):
        changes += folder.take({"a.yaml": read(service("a", 1 + tick))}, 1 + tick / 100)

    assert "b" in {change.key.name for change in changes if change.object is None}


def test_while_a_document_cannot_be_read_nothing_is_taken_as_deleted() -> None:
    folder = ManifestFolder()
    folder.take({"a.yaml": read(service("a"), service("b"))}, 0)

    broken = folder.take({"a.yaml": read("kind: [\n", service("c"))}, 1)
    folder.take({"a.yaml": read(service("c"))}, 2)
    mended = folder.take({}, 3)

    assert ports(broken) == {"c": 80}
    assert ports(mended) == {"a": None, "b": None}


def test_a_file_that_may_not_be_read_any_more_keeps_what_it_gave() -> None:
    folder = ManifestFolder()
    folder.take({"a.yaml": read(service("a"))}, 0)

    changes = folder.take({"a.yaml": parse_file(UnreadableFile("expected a regular file"))}, 1)

    assert changes == ()
    assert [(each.problem.message, str(each.location)) for each in document_problems(folder)] == [("expected a regular file", "a.yaml:1")]


def test_an_emptied_file_counts_after_a_second() -> None:
    folder = ManifestFolder()
    folder.take({"a.yaml": read(service("a"))}, 0)

    at_once = folder.take({"a.yaml": parse_file("")}, 10.0)
    again = folder.take({"a.yaml": parse_file("")}, 10.9)
    due = folder.due
    later = folder.take({}, 11.0)

    assert (at_once, again, due) == ((), (), 11.0)
    assert ports(later) == {"a": None}
    assert folder.due is None


def test_a_file_that_a_shell_is_about_to_fill_never_loses_anything() -> None:
    folder = ManifestFolder()
    folder.take({"a.yaml": read(service("a"))}, 0)

    emptied = folder.take({"a.yaml": parse_file("")}, 10.0)
    filled = folder.take({"a.yaml": read(service("a", 81))}, 10.1)

    assert (emptied, ports(filled), folder.due) == ((), {"a": 81}, None)


def test_a_file_that_is_gone_is_believed_gone_when_an_editor_would_have_written_it_again() -> None:
    folder = ManifestFolder()
    folder.take({"a.yaml": read(service("a"))}, 0)

    at_once = folder.take({"a.yaml": None}, 10.0)
    assert folder.due is not None
    later = folder.take({}, folder.due)

    assert (at_once, ports(later)) == ((), {"a": None})


def test_a_renamed_file_changes_nothing() -> None:
    folder = ManifestFolder()
    folder.take({"a.yaml": read(service("a"))}, 0)

    renamed = folder.take({"a.yaml": None, "b.yaml": read(service("a"))}, 10.0)
    later = folder.take({}, 11.0)

    assert (renamed, later) == ((), ())
    assert str(folder.location(key("a"), "metadata.name")) == "b.yaml:4"


def test_of_an_object_in_two_files_the_first_path_counts_and_the_other_is_told() -> None:
    folder = ManifestFolder()

    first = folder.take({"b.yaml": read(service("a", 81))}, 0)
    second = folder.take({"a.yaml": read(service("x"), service("a", 80))}, 1)
    [duplicate] = document_problems(folder)
    folder.take({"a.yaml": read(service("x"))}, 2)
    third = folder.take({}, 3)

    assert (ports(first), ports(second), ports(third)) == ({"a": 81}, {"a": 80, "x": 80}, {"a": 81})
    assert duplicate.problem.code == "Duplicate"
    assert "a.yaml:13" in duplicate.problem.message
    assert str(duplicate.location) == "b.yaml:4"


def test_of_an_object_twice_in_a_file_the_first_document_counts() -> None:
    folder = ManifestFolder()

    changes = folder.take({"a.yaml": read(service("a", 80), service("a", 81))}, 0)
    [duplicate] = document_problems(folder)

    assert ports(changes) == {"a": 80}
    assert str(duplicate.location) == "a.yaml:13"


def test_an_object_that_we_do_not_use_does_not_hide_one_of_the_same_kind_and_name() -> None:
    folder = ManifestFolder()
    other = service("a").replace("apiVersion: v1", "apiVersion: serving.knative.dev/v1")

    changes = folder.take({"a.yaml": read(other, service("a"))}, 0)

    assert ports(changes) == {"a": 80}
    assert [each.problem.severity for each in document_problems(folder)] == [Severity.INFO]


def test_the_order_in_which_files_are_read_does_not_matter() -> None:
    sheets = {
        "a.yaml": read(service("a", 1), service("b", 1)),
        "b.yaml": read(service("b", 2)),
        "c.yaml": read(service("a", 3), service("c", 3)),
    }
    one, other = ManifestFolder(), ManifestFolder()

    for path in sorted(sheets):
        one.take({path: sheets[path]}, 0)
    for path in sorted(sheets, reverse=True):
        other.take({path: sheets[path]}, 0)

    assert [one.location(key(each), "") for each in "abc"] == [other.location(key(each), "") for each in "abc"]
    assert document_problems(one) == document_problems(other)
    assert ports(one.take(dict.fromkeys(sheets), 1)) == {}


def test_items_of_a_list_are_found_on_their_own_lines() -> None:
    folder = ManifestFolder()
    items = "".join(
        f"- apiVersion: v1\n  kind: Service\n  metadata: {{name: s{at}, namespace: shop}}\n  spec: {{ports: [{{port: {at}}}]}}\n"
        for at in range(3)
    )

    folder.take({"a.yaml": parse_file(f"apiVersion: v1\nkind: List\nitems:\n{items}")}, 0)

    assert [(located.problem.object, str(located.location)) for located in document_problems(folder)] == [(key("s0"), "a.yaml:7")]
    assert str(folder.location(key("s2"), "spec.ports[0].port")) == "a.yaml:15"


def test_settings_of_the_mesh_change_field_by_field() -> None:
    folder = ManifestFolder()

    def saved(settings: str) -> list[tuple[str, int]]:
        """Return what the settings are now, where they have changed."""
        written = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata: {{mesh: '{settings}'}}\n"
        changes = folder.take({"a.yaml": read(written)}, 0)
        specs = [change.object.spec for change in changes if isinstance(change.object, MeshConfig)]
        assert len(specs) == len(changes)
        return [(spec.outbound_traffic_policy.mode, spec.proxy_http_port) for spec in specs]

    begun = saved("{outboundTrafficPolicy: {mode: SOME}, proxyHttpPort: 1}")
    good = saved("{outboundTrafficPolicy: {mode: REGISTRY_ONLY}, proxyHttpPort: 2}")
    bad = saved("{outboundTrafficPolicy: {mode: SOME}, proxyHttpPort: 3}")
    same = saved("{outboundTrafficPolicy: {mode: OTHER}, proxyHttpPort: 3}")

    assert (begun, good, bad, same) == ([("ALLOW_ANY", 1)], [("REGISTRY_ONLY", 2)], [("REGISTRY_ONLY", 3)], [])
    assert [each.problem.severity for each in document_problems(folder)] == [Severity.ERROR]
