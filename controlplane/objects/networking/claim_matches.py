"""Headers that are none: ``@request.auth.claims.NAME`` in the match of a route is a claim of the request's token.

https://istio.io/latest/docs/tasks/security/authentication/jwt-route/
"""

from __future__ import annotations

import re

CLAIMS = "@request.auth.claims"
_DOTTED = re.compile(r"(\.[^.\[\]]+)+\Z")
_BRACKETED = re.compile(r"(\[[^\[\]]+\])+\Z")


def is_claim(name: str) -> bool:
    """Return whether the header ``name`` means a claim."""
    return name.startswith(CLAIMS)


def claim_path(name: str) -> tuple[str, ...]:
    """Return the names that lead to the claim ``name``, one a level; none where it is not written as it should be.

    Levels are divided by dots, or each stands in brackets, which names with dots in them need.
    """
    rest = name.removeprefix(CLAIMS)
    if _DOTTED.match(rest):
        return tuple(rest[1:].split("."))
    return tuple(rest[1:-1].split("][")) if _BRACKETED.match(rest) else ()
