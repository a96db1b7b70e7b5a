"""A real Prometheus: Debian's, as it is installed or as its package has it, which is fetched once."""

from __future__ import annotations

import fcntl
import functools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import yaml

from tests.support.caches import cache_root
from tests.support.processes import Process, free_port, start
from tests.support.waiting import DEADLINE_S, until

_PACKAGE = "prometheus"


class Series(NamedTuple):
    """One series of an answer, and its value."""

    labels: Mapping[str, str]
    value: float


class Prometheus:
    """A Prometheus that scrapes ``targets`` (HOST:PORT) every second."""

    def __init__(self, folder: Path, targets: Sequence[str]) -> None:
        self._folder = folder
        self._address = f"127.0.0.1:{free_port()}"
        self._client = httpx.AsyncClient(base_url=f"http://{self._address}", timeout=DEADLINE_S)
        self._process: Process | None = None
        scraped = {"job_name": "envoys", "metrics_path": "/stats/prometheus", "static_configs": [{"targets": list(targets)}]}
        self._config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [scraped]}

    async def start(self) -> None:
        """Start it, and wait until it answers; skip the test where there is none."""
        binary = prometheus_binary()
        config = self._folder / "prometheus.yaml"
        config.write_text(yaml.safe_dump(self._config))
        data = self._folder / "prometheus-data"
        options = [f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address={self._address}"]
        self._process = await start("prometheus", [binary, *options], self._folder)
        await until(self._ready, "Prometheus is ready", watched=self._process)

    async def stop(self) -> None:
        """End it."""
        if self._process:
            await self._process.stop()
        await self._client.aclose()

    async def ask(self, query: str) -> list[Series]:
        """Return what it answers to ``query``, a vector."""
        found = (await self._client.get("/api/v1/query", params={"query": query})).json()
        assert found["status"] == "success", json.dumps(found)
        return [Series(each["metric"], float(each["value"][1])) for each in found["data"]["result"]]

    async def _ready(self) -> bool:
        try:
            return (await self._client.get("/-/ready")).is_success
        except httpx.TransportError:
            return False


def prometheus_binary() -> str:
    """Return the path of Prometheus; skip the test where it is not there and cannot be fetched."""
    if installed := shutil.which("prometheus"):
        return installed
    if failure := _fetched():
        pytest.skip(f"not run: Prometheus is not installed (apt-get install prometheus), and cannot be fetched: {failure}")
    return str(_cached() / "usr" / "bin" / "prometheus")


def complaints_about(config: Path) -> str:
    """Return what promtool, which comes with Prometheus, has to say against the configuration ``config``; skip the test without it."""
    promtool = Path(prometheus_binary()).with_name("promtool")
    ran = subprocess.run([promtool, "check", "config", str(config)], capture_output=True, text=True, check=False)
    return ran.stdout + ran.stderr if ran.returncode else ""


def _cached() -> Path:
    return cache_root() / "prometheus"


@functools.cache
def _fetched() -> str:
    """Have Debian's package in the cache, unpacked; where another process is at it, wait for that. Return why it cannot be had."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return "this is no Debian"
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with (root / "prometheus.lock").open("w") as lock, tempfile.TemporaryDirectory(dir=root) as draft:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _cached().is_dir():
            return ""
        ran = subprocess.run(["apt-get", "-qq", "download", _PACKAGE], cwd=draft, capture_output=True, text=True, check=False)
        found = list(Path(draft).glob("*.deb"))
        if ran.returncode or not found:
            return ran.stderr.strip().rpartition("\n")[2] or f"status {ran.returncode}"
        unpacked = Path(draft) / "unpacked"
        ran = subprocess.run(["dpkg", "-x", str(found[0]), str(unpacked)], capture_output=True, text=True, check=False)
        if ran.returncode:
            return ran.stderr.strip().rpartition("\n")[2] or f"status {ran.returncode}"
        unpacked.rename(_cached())
    return ""
