"""How log lines look."""

from __future__ import annotations

import json
import logging
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
