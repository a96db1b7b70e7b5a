"""What a folder means of which an object of security cannot be used, or of which it cannot be read what it gives."""

from __future__ import annotations

from controlplane.sources.files.folder import ManifestFolder
from controlplane.sources.files.manifest import ParsedFile, UnreadableFile, parse_file
from tests.support.document_problems import document_problems


def service(name: str, port: object = 80) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n  ports:\n  - port: {port}\n"


def read(*documents: str) -> ParsedFile:
    return parse_file("---\n".join(documents))


def policy(address: str, action: str = "DENY") -> str:
    return f"""apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: lock, namespace: shop}}
spec:
  action: {action}
  rules:
  - from: [{{source: {{ipBlocks: ["{address}"]}}}}]
"""


def test_a_policy_that_is_broken_by_an_edit_means_what_it_means_to_a_folder_that_was_begun_anew() -> None:
    edited, anew = ManifestFolder(), ManifestFolder()
    edited.take({"a.yaml": read(policy("10.0.0.0/8"))}, 0)

    [change] = edited.take({"a.yaml": read(policy("10.0.0.0/88"))}, 1)

    assert (change,) == anew.take({"a.yaml": read(policy("10.0.0.0/88"))}, 0)
    assert [(str(each.location), each.problem.code) for each in document_problems(edited)] == [
        ("a.yaml:7", "OutOfRange"),
        ("a.yaml:1", "Closed"),
    ]


def test_a_policy_that_watches_is_gone_when_it_is_broken_by_an_edit() -> None:
    folder = ManifestFolder()
    folder.take({"a.yaml": read(policy("10.0.0.0/8"))}, 0)
    folder.take({"a.yaml": read(policy("10.0.0.0/88", "AUDIT"))}, 1)
    assert folder.due is not None

    [change] = folder.take({}, folder.due)

    assert change.object is None
    assert [each.problem.code for each in document_problems(folder)] == ["OutOfRange", "NotInEffect"]


def test_what_may_be_of_security_and_cannot_be_read_is_named_with_file_and_line() -> None:
    def unreadable(**files: ParsedFile) -> str | None:
        folder = ManifestFolder()
        folder.take(files, 0)
        found = folder.unreadable()
        return str(found.location) if found else None

    nameless = policy("10.0.0.0/88").replace("name: lock, ", "")
    assert unreadable(a=read(service("a")), b=read(service("b"), "kind: [\n")) == "b:11"
    assert unreadable(a=read(service("a"), policy("10.0.0.0/8").replace("kind: Auth", "kind: auth"))) == "a:11"
    assert unreadable(a=parse_file(UnreadableFile("expected UTF-8"))) == "a:1"
    assert unreadable(a=read("kind: AuthorizationPolicy\n")) == "a:1"
    assert unreadable(a=read(service("b"), nameless)) == "a:12"
    assert unreadable(a=read("replicas: 3\n"), b=read(policy("10.0.0.0/88")), c=read(service("a", "'none'"))) is None
