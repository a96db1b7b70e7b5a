"""Who receives OTLP in tests, by gRPC and HTTP: a real OpenTelemetry collector, built once with Go and kept.

Where there is no Go, a small receiver in Python stands in for it, in an environment of its own: OTLP's classes do not live beside
`xds-protos`, which brings old ones under the same names. `python -m tests.support.otlp_receivers` makes ready what can be, and says what is
there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import subprocess
import sys
import venv
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import go_programs
from tests.support.caches import cache_root
from tests.support.processes import Process, start
from tests.support.waiting import until

HERE = Path(__file__).parent / "assets" / "otelcol"
SCRIPT = Path(__file__).parent / "assets" / "otlp_receiver" / "receiver.py"
REQUIREMENTS = ("opentelemetry-proto==1.45.2", "grpcio>=1.80,<2")
HOW = "install Go, or have pip fetch opentelemetry-proto, and run: python -m tests.support.otlp_receivers"
Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class OtlpReceiver:
    """A running receiver: the ports of its address, and the file with what came."""

    grpc_port: int
    http_port: int
    file: Path
    process: Process

    def spans(self) -> list[Json]:
        """Return the spans that came, each with the name of its service as ``service``."""
        return [span | {"service": service} for service, span in self._received("resourceSpans", "scopeSpans", "spans")]

    def log_records(self) -> list[Json]:
        """Return the log records that came."""
        return [record for _, record in self._received("resourceLogs", "scopeLogs", "logRecords")]

    def _received(self, resources: str, scopes: str, members: str) -> Iterator[tuple[str, dict[str, object]]]:
        text = self.file.read_text() if self.file.exists() else ""
        for line in text.splitlines(keepends=True):
            batch = json.loads(line) if line.endswith("\n") else {}  # the last line may be half written
            for resource in batch.get(resources, ()):
                service = attributes(resource.get("resource", {})).get("service.name", "")
                yield from ((service, member) for scope in resource.get(scopes, ()) for member in scope.get(members, ()))


def attributes(message: Json) -> dict[str, str]:
    """Return the attributes of ``message`` as texts."""
    found = message.get("attributes", [])
    assert isinstance(found, list)
    return {each["key"]: str(next(iter(each["value"].values()), "")) for each in found}


@contextlib.asynccontextmanager
async def otlp_receiver(folder: Path, address: str, grpc_port: int, http_port: int) -> AsyncIterator[OtlpReceiver]:
    """Yield a receiver at ``address``; skip the test where there can be none."""
    file = folder / "otlp.jsonl"
    process = await start("otlp", [*_command(folder, address, grpc_port, http_port, file)], folder)
    try:
        await until(lambda: _is_open(address, http_port), "the OTLP receiver listens", watched=process)
        yield OtlpReceiver(grpc_port, http_port, file, process)
    finally:
        await process.stop()


def _command(folder: Path, address: str, grpc_port: int, http_port: int, file: Path) -> list[str]:
    if (collector := _collector()) is not None:
        config = folder / "otelcol.yaml"
        config.write_text(json.dumps(_config(address, grpc_port, http_port, file)))
        return [str(collector), "--config", str(config)]
    python = _environment()
    return [str(python), str(SCRIPT), address, str(grpc_port), str(http_port), str(file)]


def _config(address: str, grpc_port: int, http_port: int, file: Path) -> Json:
    protocols = {"grpc": {"endpoint": f"{address}:{grpc_port}"}, "http": {"endpoint": f"{address}:{http_port}"}}
    pipeline = {"receivers": ["otlp"], "exporters": ["file"]}
    return {
        "receivers": {"otlp": {"protocols": protocols}},
        "exporters": {"file": {"path": str(file), "flush_interval": "100ms"}},
        "service": {"telemetry": {"metrics": {"level": "none"}}, "pipelines": {"traces": pipeline, "logs": pipeline}},
    }


def _is_open(address: str, port: int) -> bool:
    import socket

    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


def _collector() -> Path | None:
    """Return the collector, which is built if it has to be; ``None`` where it cannot be."""
    target = go_programs.kept("otelcol", HERE.glob("*")) / "otelcol"
    if target.is_file():
        return target
    return go_programs.built(target, HERE, ".", ("-ldflags", "-s -w")) if go_programs.go_is_there() else None


def _environment() -> Path:
    """Return the Python of an environment with OTLP's classes; skip the test where it cannot be made."""
    failure = _made_environment()
    if failure:
        pytest.skip(f"not run: nobody receives OTLP: {failure}; {HOW}")
    return _environment_folder() / "bin" / "python"


def _environment_folder() -> Path:
    return cache_root() / f"otlp-{hashlib.sha256(' '.join(REQUIREMENTS).encode()).hexdigest()[:16]}"


def _made_environment() -> str:
    """Make the environment, unless it is there; return why not, empty where it is."""
    folder = _environment_folder()
    cache_root().mkdir(parents=True, exist_ok=True)
    with (cache_root() / "otlp.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "ready").exists():
            return ""
        venv.create(folder, clear=True, with_pip=True)
        command = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", *REQUIREMENTS]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return str(done.stderr).strip()[-300:]
        (folder / "ready").touch()
        return ""


def main() -> None:
    """Make ready what can be, and say what there is."""
    if (collector := _collector()) is not None:
        print(collector)
    elif failure := _made_environment():
        sys.exit(f"nobody receives OTLP: {failure}; {HOW}")
    else:
        print(_environment_folder())


if __name__ == "__main__":
    main()
