"""The command ``navarch``, as a process."""

from __future__ import annotations

import subprocess
import sys

NAVARCH = (sys.executable, "-m", "controlplane.cli.main")


def navarch(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run((*NAVARCH, *arguments), input=text, capture_output=True, text=True, timeout=300, check=False)
