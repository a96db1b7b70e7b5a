"""One real API server for all tests of a session that need one."""

from __future__ import annotations

import contextlib
import urllib.error
from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster
from tests.support.kube_control_plane import HOME, SECRET


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    yield started
    started.stop()


@pytest.fixture
def home(cluster: Cluster) -> Iterator[Cluster]:
    """The API server, with nothing in it of an authority before or after."""
    cluster.namespace(HOME)
    yield cluster
    with contextlib.suppress(urllib.error.HTTPError):
        cluster.call("DELETE", SECRET)
