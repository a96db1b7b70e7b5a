"""What navarch serve says of Problems, of gRPC's own lines, and of a namespace that is not there: each once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from controlplane.app.problem_log import ProblemLog
from controlplane.app.system_namespace import SystemNamespace
from controlplane.kube.errors import ApiServerUnreachable
from controlplane.model.keys import VIRTUAL_SERVICE, Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.locations import LocatedProblem, Location
from controlplane.serve.core_log import CoreLog
from controlplane.untyped import Json
from tests.support.waiting import until

A = VIRTUAL_SERVICE.key("shop", "a")
B = VIRTUAL_SERVICE.key("shop", "b")
BROKEN = Problem(A, "spec.http[0].timeout", Severity.ERROR, "WrongType", "expected a duration")
UNKNOWN = Problem(B, "spec.hosts[0]", Severity.WARNING, "UnknownHost", "no such service")


class Folder:
    """A mesh and its only file."""

    def __init__(self) -> None:
        self.of_documents = [BROKEN]
        self.of_mesh = [UNKNOWN]
        self.refreshes = 1
        self.line = 4

    def problems_by_object(self) -> Iterator[tuple[Problem, ...]]:
        yield tuple(self.of_mesh)

    def problems_by_document(self) -> Iterator[tuple[LocatedProblem, ...]]:
        yield tuple(LocatedProblem(problem, Location("a.yaml", self.line)) for problem in self.of_documents)

    def location(self, key: Key, path: str) -> Location | None:
        del key, path
        return Location("a.yaml", self.line)


async def test_a_problem_is_told_once_with_its_line_and_once_when_it_is_mended(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    folder = Folder()
    problem_log = ProblemLog(folder, lambda: [folder], lambda: folder.refreshes)

    await problem_log.look()
    folder.line = 7  # something else was written above it
    await problem_log.look()
    folder.of_documents, folder.of_mesh = [], []
    await problem_log.look()  # the mesh has not been brought up to date yet
    folder.refreshes += 1
    await problem_log.look()

    told = [(record.getMessage(), vars(record)["code"], vars(record)["where"]) for record in caplog.records]
    assert told == [
        ("problem", "WrongType", "a.yaml:4"),
        ("problem", "UnknownHost", "a.yaml:4"),
        ("problem mended", "WrongType", "a.yaml:7"),
        ("problem mended", "UnknownHost", "a.yaml:7"),
    ]


async def test_a_problem_that_reads_otherwise_now_is_not_mended(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    folder = Folder()
    problem_log = ProblemLog(folder, lambda: [folder], lambda: folder.refreshes)

    await problem_log.look()
    folder.of_mesh = [replace(UNKNOWN, message="no such service, and it is late")]
    folder.refreshes += 1
    await problem_log.look()

    told = [(record.getMessage(), vars(record)["reason"]) for record in caplog.records if vars(record)["code"] == "UnknownHost"]
    assert told == [("problem", "no such service"), ("problem", "no such service, and it is late")]


async def test_who_becomes_ready_says_how_many_objects_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    folder, ready = Folder(), asyncio.Event()
    ready.set()
    task = asyncio.create_task(ProblemLog(folder, lambda: [folder], lambda: 1).run(ready))

    await until(lambda: any(record.getMessage() == "ready" for record in caplog.records))
    task.cancel()

    [record] = [record for record in caplog.records if record.getMessage() == "ready"]
    assert (vars(record)["refused_objects"], vars(record)["problems"], record.levelname) == (1, 2, "WARNING")


def test_a_name_that_our_certificate_lacks_is_told_once_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    core_log = CoreLog(lambda: 0.0)
    line = "E1130 11:08:50.260864    6591 ssl_transport_security.cc:3238] No match found for server name: {}."

    assert [core_log.take(line.format(name)) for name in ("mesh.example", "mesh.example", "other.example")] == [True] * 3

    assert [vars(record)["server_name"] for record in caplog.records] == ["mesh.example", "other.example"]
    assert "navarch serve --name mesh.example" in vars(caplog.records[0])["advice"]


def test_lines_of_the_core_come_through_the_log_now_and_then_and_others_are_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    seconds = [0.0]
    core_log = CoreLog(lambda: seconds[0])
    error, info = "E1130 11:08:50.260864    6591 tcp.cc:7] no", "I1130 11:08:50.260864    6591 tcp.cc:8] well"

    taken = [core_log.take(line) for line in (error, error, info, "Fatal Python error: Aborted")]
    seconds[0] = 61.0
    core_log.take(error)

    assert taken == [True, True, True, False]
    assert [(record.levelname, vars(record)["text"]) for record in caplog.records] == [("WARNING", "no")] * 2


async def test_a_namespace_that_is_not_there_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    class Server:
        there = fails = False

        async def get(self, path: str, **query: str) -> Json:
            assert (path, query) == ("/api/v1/namespaces", {"fieldSelector": "metadata.name=navarch-system"})
            if self.fails:
                raise ApiServerUnreachable("no answer")
            return {"items": [{}] if self.there else []}

    server = Server()
    namespace = SystemNamespace(server, "navarch-system")
    for there, fails in ((False, False), (False, True), (False, False), (True, False), (True, True)):
        server.there, server.fails = there, fails
        await namespace.look()

    assert [record.getMessage() for record in caplog.records] == [
        "the namespace of the control plane is not there",
        "the namespace of the control plane is there",
    ]
    assert "kubectl create namespace navarch-system" in vars(caplog.records[0])["advice"]
