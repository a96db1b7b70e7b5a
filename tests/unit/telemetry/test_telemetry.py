"""How log lines look."""

from __future__ import annotations

import errno
import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from controlplane.telemetry import LogFormat, log_to_stderr

log = logging.getLogger("controlplane.test")


@pytest.fixture(autouse=True)
def _root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_text_is_one_line_an_event_whatever_a_proxy_calls_itself(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(LogFormat.TEXT)

    log.info("proxy connected", extra={"proxy": "x\n2026-01-01 info synced", "connection": 1, "reason": "y" * 5000})
    [line] = capsys.readouterr().err.splitlines()

    assert 'info    proxy connected  proxy="x\\n2026-01-01 info synced" connection=1 reason=yyy' in line
    assert len(line) < 1200


def test_json_has_the_facts_as_fields(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(LogFormat.JSON)

    try:
        raise RuntimeError("a mistake")
    except RuntimeError:
        log.exception("stream failed", extra={"proxy": "x", "connection": 1})
    [line] = capsys.readouterr().err.splitlines()
    found = json.loads(line)

    assert (found["event"], found["level"], found["proxy"], found["connection"]) == ("stream failed", "error", "x", 1)
    assert "RuntimeError: a mistake" in found["exception"]


class Disk(io.StringIO):
    """Takes what is written unless it is full."""

    full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_how_many_lines_a_full_disk_took_is_told_when_it_takes_them_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = Disk()
    monkeypatch.setattr(sys, "stderr", disk)
    log_to_stderr(LogFormat.TEXT)

    log.info("before")
    disk.full = True
    for _ in range(3):
        log.info("lost")
    disk.full = False
    log.info("after")
    log.info("and on")
    before, told, *after = disk.getvalue().splitlines()

    assert "before" in before
    assert 'warning log lines lost  count=3 file="standard error" reason="No space left on device"' in told
    assert [line.split()[-1] for line in after] == ["after", "on"]
    assert "Traceback" not in capsys.readouterr().err
