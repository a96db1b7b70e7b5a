"""What gRPC's core, which is not Python, writes to standard error by itself: its lines come through our log.

A client that asks by TLS for a name that the certificate lacks is known by such a line alone. It is told once, with what to do.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

log = logging.getLogger(__name__)

_LINE = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ ([\w./-]+:\d+)\] (.*)")
_UNKNOWN_NAME = re.compile(r"No match found for server name: (.*?)\.?")
_SAID_BY_US = ("add_port.cc",)  # a port that cannot be opened ends the command, with words
_MAX_NAMES = 100  # that are told: whoever connects can make up more
_MAX_NAME = 253
_AGAIN_S = 60.0  # after which what the same place of the code says is told again
_STDERR = 2


class CoreLog:
    """What the log has been told of the core's lines."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with nothing told; ``clock`` gives seconds."""
        self._clock = clock
        self._names: set[str] = set()
        self._told_at: dict[str, float] = {}

    def take(self, line: str) -> bool:
        """Tell the log of ``line``, if that is to be told, and return whether the core wrote it."""
        match = _LINE.fullmatch(line)
        if match is None:
            return False
        level, place, text = match.groups()
        if name := _UNKNOWN_NAME.fullmatch(text):
            self._unknown_name(name[1][:_MAX_NAME])
        elif level == "I" or place.startswith(_SAID_BY_US):
            log.debug("grpc", extra={"place": place, "text": text})
        elif self._clock() - self._told_at.get(place, -_AGAIN_S) >= _AGAIN_S:
            self._told_at[place] = self._clock()
            log.warning("grpc", extra={"place": place, "text": text})
        return True

    def _unknown_name(self, name: str) -> None:
        if name in self._names or len(self._names) >= _MAX_NAMES:
            return
        self._names.add(name)
        advice = f"navarch serve --name {name} puts it there, or navarch bootstrap --server-name localhost asks for another"
        log.warning("a TLS client asks for a name that our certificate lacks", extra={"server_name": name, "advice": advice})


@contextlib.contextmanager
def core_lines_in_log() -> Iterator[None]:
    """Read what is written to the file of standard error; Python's ``sys.stderr`` leads past that, to where the file led before."""
    before, stderr = os.dup(_STDERR), sys.stderr
    read, write = os.pipe()
    os.dup2(write, _STDERR)
    os.close(write)
    # Without a buffer: what a full disk does not take is lost, and counted, and does not come later in the middle of other lines.
    raw = cast("BinaryIO", io.FileIO(before, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
    reader = threading.Thread(target=_pass_on, args=(read, before), daemon=True)
    reader.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, _STDERR)  # which closes the last end that is written to
        reader.join(1.0)
        sys.stderr = stderr
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(stderr)


def _pass_on(read: int, before: int) -> None:
    """Give each line that is read to the log, or pass it on to ``before`` as it is."""
    core_log = CoreLog(time.monotonic)
    with os.fdopen(read, encoding="utf-8", errors="backslashreplace") as lines:
        for line in lines:
            if not core_log.take(line.rstrip("\n")):
                with contextlib.suppress(OSError):  # a full disk: the core would wait for ever where nobody reads on
                    os.write(before, line.encode("utf-8", "backslashreplace"))
