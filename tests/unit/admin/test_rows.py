"""Pages in pieces say what they would say as a whole."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from hypothesis import given
from hypothesis import strategies as st

from controlplane.admin.pages import rows
from controlplane.admin.pages.rows import list_page, object_rows, problem_rows, resource_list_page
from controlplane.admin.schemas import RefusedCallerRow
from controlplane.envoy.packing import encode
from controlplane.envoy.type_urls import CDS
from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.locations import LocatedProblem, Location, located_problems
from controlplane.xds.resource import resource

KEYS = [Key("Service", f"ns{number % 3}", f"s{number}") for number in range(10)]


class Lines:
    """A source with a file a namespace; what is wrong with its documents is ``documents``."""

    def __init__(self, documents: list[LocatedProblem]) -> None:
        self._documents = documents

    def problems_by_document(self) -> Iterator[tuple[LocatedProblem, ...]]:
        for each in self._documents:
            yield (each,)
            yield ()

    def location(self, key: Key, path: str) -> Location | None:
        return Location(f"{key.namespace}.yaml", len(path) + 1) if key in KEYS[:8] else None


problems = st.builds(
    Problem,
    st.sampled_from(KEYS),
    st.sampled_from(["", "spec", "spec.hosts"]),
    st.sampled_from(Severity),
    st.sampled_from("AB"),
    st.just("m"),
)
located = st.builds(LocatedProblem, problems, st.none() | st.builds(Location, st.sampled_from(["a.yaml", "ns1.yaml"]), st.integers(1, 3)))


@given(st.lists(problems, max_size=30), st.lists(located, max_size=10), st.integers(1, 5))
def test_problems_are_those_of_validate_in_the_same_order(of_objects: list[Problem], of_documents: list[LocatedProblem], run: int) -> None:
    source = Lines(of_documents)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_RUN", run)
        found = [row for row in problem_rows([(each,) for each in of_objects], [source], None) if row]

    expected = [each.row() for each in located_problems(of_objects, [source])]
    assert [row.model_dump() for row in found] == expected


def test_problems_of_one_severity() -> None:
    of_objects = [Problem(KEYS[0], "spec", severity, "A", "m") for severity in Severity]

    found = [row.severity for row in problem_rows([of_objects], [], "warning") if row]

    assert found == ["warning"]


def test_objects_of_one_kind_and_namespace_where_they_stand() -> None:
    keys = [*KEYS, Key("Pod", "ns1", "p")]

    found = [row for row in object_rows(keys, [Lines([])], "Service", "ns1") if row]

    assert [(row.object, row.file, row.line) for row in found] == [
        ("Service/ns1/s1", "ns1.yaml", 1),
        ("Service/ns1/s4", "ns1.yaml", 1),
        ("Service/ns1/s7", "ns1.yaml", 1),
    ]


@pytest.mark.parametrize("places", [(), (0,), (0, 1, 2), (1, 3)])
def test_a_list_in_pieces_is_one_document(places: tuple[int, ...]) -> None:
    row = RefusedCallerRow(
        address="10.0.0.1", failure="bad-node", reason='no "id"', node="ä", identity=None, times=1, first_at=random.random(), last_at=2.0
    )

    text = b"".join(list_page([row if number in places else None for number in range(4)]))

    assert json.loads(text) == [row.model_dump(mode="json", by_alias=True)] * len(places)


def test_resources_are_shown_with_name_and_version() -> None:
    resources = [resource(CDS, name, encode(Cluster(name=name))) for name in ("a", 'b"')]

    found = json.loads(b"".join(resource_list_page(resources)))

    assert [(each["name"], each["version"], each["resource"]) for each in found] == [
        (each.name, each.version, {"name": each.name}) for each in resources
    ]
