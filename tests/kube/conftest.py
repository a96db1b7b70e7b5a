"""Real API servers: one for all tests of a session that need one, and one of a module's own."""

from __future__ import annotations

import contextlib
import urllib.error
from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster
from tests.support.crd_definitions import define_all
from tests.support.kube_control_plane import HOME, SECRET
from tests.support.kube_objects import CRDS


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server of a module's own that knows our kinds and the control plane's namespace; nothing controls its objects."""
    started = Cluster(tmp_path_factory.mktemp("own"), controllers=False)
    if CRDS.exists():
        define_all(started, CRDS)
    started.namespace(HOME)
    yield started
    started.stop()


@pytest.fixture
def home(cluster: Cluster) -> Iterator[Cluster]:
    """The API server, with nothing in it of an authority before or after."""
    cluster.namespace(HOME)
    yield cluster
    with contextlib.suppress(urllib.error.HTTPError):
        cluster.call("DELETE", SECRET)
