"""Where tests keep what takes long to build or to fetch, from one run to the next."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """Return the folder of all of it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "navarch"
