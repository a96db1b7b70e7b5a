"""A control plane that is stopped while its API server hangs, and one whose rights are taken away and given back."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.settings import IdentitySettings, Settings
from tests.support.api_relay import Relay
from tests.support.cluster import Cluster
from tests.support.kube_control_plane import serving
from tests.support.served_process import served
from tests.support.waiting import until
from tests.support.with_cluster import knowing_our_kinds

GRACE_S = 25.0  # of the 45 s that the manifests give: less than one request to the API server is waited for
IDENTITY = Settings(identity=IdentitySettings(xds_tls="127.0.0.1:0"))
HOME = {"POD_NAME": "navarch-1", "POD_NAMESPACE": "navarch-system"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = knowing_our_kinds(tmp_path_factory.mktemp("own"))
    cluster.namespace("navarch-system")
    yield cluster
    cluster.stop()


async def test_a_leader_ends_within_the_grace_period_while_the_api_server_hangs(own: Cluster, tmp_path: Path) -> None:
    options = ("--kubernetes", "--replica", "--kubeconfig", str(own.kubeconfig()), "--xds-tls", "127.0.0.1:0", "--webhook", "127.0.0.1:0")
    async with served(tmp_path, *options, environment=HOME) as process:
        await process.logs("synced")
        await process.logs("lease held")
        own.pause_api()
        try:
            ended = await process.ended_by()
        finally:
            own.resume_api()

    print(f"ended after {ended.seconds:.1f} s")
    assert ended.status == 0
    assert "stopped" in ended.said
    assert ended.seconds < GRACE_S


WATCHES = ("/api/v1/", "/apis/")


def told(caplog: pytest.LogCaptureFixture) -> Counter[tuple[str, ...]]:
    """Return how often each thing was told; what the status of objects says of itself is told elsewhere."""
    facts = ("resource", "namespace", "object", "lease")
    lines = ((record.message, *(str(vars(record)[fact]) for fact in facts if fact in vars(record))) for record in caplog.records)
    return Counter(line for line in lines if line[0] != "status not written")


async def test_rights_that_are_taken_away_are_told_once_and_once_when_they_are_back(
    own: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "controlplane")
    async with Relay(own, tmp_path).listening() as relay, serving(relay.kubeconfig, webhook="127.0.0.1:0", more=IDENTITY):
        await until(lambda: any(record.message == "lease held" for record in caplog.records))
        caplog.clear()
        relay.refused = dict.fromkeys(WATCHES, 403)
        relay.cut()
        began = len(relay.asked)
        asked: Counter[str] = Counter()

        def often() -> bool:  # each collection has been asked for some times
            asked.clear()
            asked.update(path.partition("?")[0] for _, path in relay.asked[began:])
            return min(asked[path] for path in ("/api/v1/services", "/api/v1/pods", "/api/v1/namespaces")) >= 4

        await until(often)
        away = told(caplog)
        caplog.clear()
        relay.refused = {}
        relay.cut()

        def back() -> bool:
            return sum(record.message == "watch goes on" for record in caplog.records) >= len(
                [each for each in away if each[0] == "watch interrupted"]
            )

        await until(back)
        again = told(caplog)

    print(f"{sum(asked.values())} requests were refused; told: {dict(away)}; then {dict(again)}")
    assert away[("watch interrupted", "services")] in {1, 2}  # the cut, and the refusal
    assert max(away.values()) <= 2
    assert max(again.values()) <= 2
