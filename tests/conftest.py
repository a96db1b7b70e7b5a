"""What all tests share: how Hypothesis looks for counterexamples."""

from __future__ import annotations

from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

# No deadline for an example: other processes share the machine, and how fast code is, is measured by `make bench`.
settings.register_profile("navarch", deadline=None, database=DirectoryBasedExampleDatabase(".cache/hypothesis"))
settings.load_profile("navarch")
