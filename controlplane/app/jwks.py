"""Puts together who fetches the keys of token issuers, and what may be seen of it."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Mapping

from controlplane.admin.schemas import IssuerRow
from controlplane.errors import NavarchError
from controlplane.settings import JwksSettings
from controlplane.sources.jwks.fetch import Fetching, SystemResolver, is_own
from controlplane.sources.jwks.refresh import Held, Keeper, Means, Timing, shown
from controlplane.sources.jwks.url_policy import Guard, allowed


class BadRoots(NavarchError):
    """The file of authorities cannot be used."""


def keeper(settings: JwksSettings) -> Keeper:
    """Return who fetches keys by ``settings``; raises BadRoots."""
    fetching = Fetching(Guard(map(allowed, settings.allow), is_own), _tls(settings.roots), SystemResolver())
    means = Means(fetch=fetching, clock=time.monotonic, sleep=asyncio.sleep, random=random.random)
    return Keeper(means, Timing(refresh_s=settings.refresh_s))


def rows(held: Mapping[str, Held]) -> list[IssuerRow]:
    """Return what may be seen of ``held``, sorted."""
    now = time.monotonic()
    return [
        IssuerRow(
            uri=shown(uri),
            usable=each.keys.text is not None,
            age_s=None if each.fetched_at is None else now - each.fetched_at,
            failures=each.failures,
            error=each.keys.failure or None,
            again_in_s=max(0.0, each.due - now),
        )
        for uri, each in sorted(held.items())
    ]


def _tls(roots: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if roots:
        try:
            context.load_verify_locations(roots)
        except OSError as error:  # of which those of TLS are some
            raise BadRoots(f"{roots} holds no certificates that can be used: {error}") from error
    return context
