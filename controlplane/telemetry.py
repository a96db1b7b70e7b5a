"""How this program logs: one event a line, as text or as JSON, facts as fields."""

from __future__ import annotations

import json
import logging
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TextIO

_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_MAX_FIELD_LENGTH = 1000  # characters of a fact in a line of text
_NOISY_LOGGERS = ("watchfiles", "uvicorn", "asyncio", "grpc", "kubernetes")


class LogFormat(StrEnum):
    """How a log line looks."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """From which level on log lines are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{name}={_quoted(str(value))}" for name, value in _extra_fields(record).items())
        line = f"{_time(record)} {record.levelname.lower():7} {record.getMessage()}{'  ' if facts else ''}{facts}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "room": record.name,
            **_extra_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class OngoingFailure:
    """Tells the log of something that is tried again and again: once when it fails, or for another reason, and once when it works again.

    A right that was taken away fails every few seconds, for weeks: a line each time would hide all others.
    """

    def __init__(self, log: logging.Logger, failing: str, working: str, **facts: object) -> None:
        """Say ``failing`` and ``working`` to ``log``, with ``facts``."""
        self._log = log
        self._failing = failing
        self._working = working
        self._facts = facts
        self._kind: object = None

    def failed(self, reason: str, kind: object = None, **facts: object) -> None:
        """Take note that it has failed for ``reason``; ``kind`` is what reasons have in common that differ in details only."""
        kind = reason if kind is None else kind
        if kind != self._kind:
            self._log.warning(self._failing, extra={**self._facts, "reason": reason, **facts})
        self._kind = kind

    def worked(self) -> None:
        """Take note that it has worked."""
        if self._kind is not None:
            self._log.info(self._working, extra=self._facts)
        self._kind = None


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines to a stream; how many could not be written, as where a disk is full, is told by the first that can be again."""

    def __init__(self, stream: TextIO) -> None:
        """Write to ``stream``."""
        super().__init__(stream)
        self._lost = 0
        self._reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Write ``record``, after what there is to tell of lines that were lost."""
        if self._lost:
            before, self._lost = self._lost, 0
            super().emit(self._lines_lost(before))
            if self._lost:  # that cannot be written either: it counts for this record
                self._lost += before
                return
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - of the standard library
        """Count ``record`` as lost where it could not be written."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self._lost += 1
            self._reason = error.strerror or str(error)
        else:
            super().handleError(record)

    def _lines_lost(self, count: int) -> logging.LogRecord:
        try:
            place = str(Path(f"/proc/self/fd/{self.stream.fileno()}").readlink())
        except (OSError, ValueError):
            place = "standard error"
        facts = {"count": count, "file": place, "reason": self._reason}
        return logging.makeLogRecord(
            {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": "log lines lost", **facts}
        )


def log_to_stderr(form: LogFormat, level: LogLevel = LogLevel.INFO) -> None:
    """Write this program's logs from ``level`` on to standard error in the given ``form``."""
    handler = LineHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if form is LogFormat.JSON else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.value.upper())
    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def _quoted(value: str) -> str:
    """Return ``value`` as one word: what a proxy calls itself must not look like a line of ours."""
    shortened = value if len(value) <= _MAX_FIELD_LENGTH else f"{value[:_MAX_FIELD_LENGTH]}…"
    return shortened if shortened.isprintable() and not set(shortened) & set(' "=') and shortened else json.dumps(shortened)


def _extra_fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}


def _time(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03}Z"
