"""A real Envoy refuses a resource of each type: its object and field are named, and nobody beside it loses a request or a later edit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest
import pytest_asyncio

from tests.support.envoy_versions import NEWEST, VERSIONS, envoy_of
from tests.support.refusing_gateway import URLS, RefusingGateway, refusing_gateway
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

_CREDENTIAL = "spec.servers[0].tls.credentialName"
_AT_FAULT: Mapping[str, tuple[str, str]] = {
    "Listener": ("Gateway/default/two", "spec.servers[0].bind"),
    "ClusterLoadAssignment": ("ServiceEntry/default/two", "spec.endpoints[1].address"),
    "Cluster": ("DestinationRule/default/two", "spec.trafficPolicy.tls.caCertificates"),
    "Route": ("VirtualService/default/two", "spec.http[0].match[0].uri.regex"),
    "Secret": ("Gateway/default/secret-two", _CREDENTIAL),
}


_TYPES = {"Route": ("RouteConfiguration", "VirtualHost")}  # by how virtual hosts come
_OLDEST = "delta, without VHDS"


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["delta", "sotw", _OLDEST])
async def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RefusingGateway]:
    binary = envoy_of(VERSIONS[0] if request.param == _OLDEST else NEWEST)
    async with refusing_gateway(tmp_path_factory.mktemp("front"), delta=request.param != "sotw", binary=binary) as found:
        yield found


@pytest.mark.parametrize("kind", _AT_FAULT)
async def test_what_is_refused_is_told_with_its_field_and_costs_nobody_a_request(
    front: RefusingGateway, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    front.answers.clear()
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(front.ask_on())
        await until(lambda: len(front.answers[URLS[-1]]) > 1)
        front.spoil(kind)
        await until(front.refused, "the refusal is a Problem")
        problems = await front.refused()
        front.route("three", 2)
        await until(lambda: front.answers["https://three.example"][-1] == (200, "2"), "an edit of a neighbour arrives")
        front.mend()
        for name in ("two", "three"):
            front.route(name, 1)
        await until(no_more_refused(front), "nothing is refused any more")
        await until(lambda: front.answers["https://three.example"][-1] == (200, "1"))
        asking.cancel()

    told = [vars(record)["at_fault"] for record in caplog.records if record.levelno == logging.WARNING and "at_fault" in vars(record)]
    total = {url: len(answers) for url, answers in front.answers.items()}
    print(f"{kind}: {problems[0]['object']} {problems[0]['field']}; {sum(total.values())} requests, failed: {front.failed()}")
    print(f"    {problems[0]['message']}")
    assert {(problem["object"], problem["field"]) for problem in problems} == {_AT_FAULT[kind]}
    assert any(f"refused {each} " in str(problems[0]["message"]) for each in _TYPES.get(kind, (kind,)))
    assert " ".join(_AT_FAULT[kind]) in told
    assert front.failed() == {"one": 0, "two": 0, "three": 0}


def no_more_refused(front: RefusingGateway) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return not await front.refused()

    return holds
