"""Regular expressions that users write: RE2's syntax, as Envoy has it, and RE2's guarantee that none of them stalls us."""

from __future__ import annotations

from functools import lru_cache

import re2

MAX_LENGTH = 1024
_OPTIONS = re2.Options()
_OPTIONS.max_mem = 1 << 18  # some 10,000 instructions; with 1 MiB, 360 characters (`a{1,1000}` 40 times) take 1.8 s to compile
_OPTIONS.log_errors = False


@lru_cache(maxsize=1 << 12)
def regex_size(pattern: str) -> int:
    """Return how many instructions ``pattern``, which is valid, is compiled to."""
    return int(re2.compile(pattern, _OPTIONS).programsize)


def regex_error(pattern: str) -> str | None:
    """Return what is wrong with ``pattern``, or ``None``."""
    if len(pattern) > MAX_LENGTH:
        return f"expected a regular expression of at most {MAX_LENGTH} characters"
    try:
        re2.compile(pattern, _OPTIONS)
    except re2.error as error:
        reason = error.args[0] if error.args else "not understood"
        return f"expected an RE2 regular expression: {reason.decode(errors='replace') if isinstance(reason, bytes) else reason}"
    except UnicodeEncodeError:
        return "expected valid Unicode"
    return None
