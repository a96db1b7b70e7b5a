"""What a test run starts does not outlive it, not even where the run is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.leftovers import ended_with
from tests.support.waiting import wait_until

_SLEEPS = [sys.executable, "-S", "-c", "import time; print('up', flush=True); time.sleep(600)"]
_RUN = f"""
import signal, subprocess, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
from tests.support.leftovers import guarded
guard = guarded()
started = subprocess.Popen({_SLEEPS!r}, stdout=subprocess.PIPE, start_new_session=True)
started.stdout.readline()
print(started.pid, flush=True)
time.sleep(600)
"""


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_what_was_started_ends_with_a_run_that_is_killed(end: signal.Signals) -> None:
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", _RUN], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=root) as run:
        assert run.stdout
        started = int(run.stdout.readline())
        assert runs(started)

        os.kill(run.pid, end)

        wait_until(lambda: not runs(started), "the process that it started is gone")


def test_what_a_block_starts_ends_with_it_and_nothing_else_does() -> None:
    with subprocess.Popen(_SLEEPS, stdout=subprocess.PIPE) as before:
        with ended_with():
            within = subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600"], start_new_session=True)

        assert within.wait(60) == -signal.SIGKILL
        assert before.poll() is None
        before.kill()
