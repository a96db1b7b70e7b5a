"""Puts together who fetches the keys of token issuers, and what may be seen of it."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Mapping

from controlplane.admin.schemas import IssuerRow
from controlplane.errors import NavarchError
from controlplane.mesh.facts import IssuerKeys
from controlplane.objects.security.jwks import KeySet
from controlplane.settings import JwksSettings
from controlplane.sources.jwks.fetch import JwksFetcher, SystemResolver, is_own_address
from controlplane.sources.jwks.refresh import FetchState, JwksRefresher, RefreshInputs, RefreshTiming, redacted_url
from controlplane.sources.jwks.url_policy import UrlPolicy, parse_allowed


class BadTrustRoots(NavarchError):
    """The file of authorities cannot be used."""


def jwks_refresher(settings: JwksSettings) -> JwksRefresher:
    """Return who fetches keys by ``settings``; raises BadRoots."""
    fetching = JwksFetcher(UrlPolicy(map(parse_allowed, settings.allow), is_own_address), _tls(settings.roots), SystemResolver())
    means = RefreshInputs(fetch=fetching, clock=time.monotonic, sleep=asyncio.sleep, random=random.random)
    return JwksRefresher(means, RefreshTiming(refresh_s=settings.refresh_s))


def facts(keys: Mapping[str, KeySet]) -> list[IssuerKeys]:
    """Return ``keys``, by address, as facts."""
    return [IssuerKeys(address, key_set) for address, key_set in keys.items()]


def issuer_rows(held: Mapping[str, FetchState]) -> list[IssuerRow]:
    """Return what may be seen of ``held``, sorted."""
    now = time.monotonic()
    return [
        IssuerRow(
            uri=redacted_url(uri),
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
            raise BadTrustRoots(f"{roots} holds no certificates that can be used: {error}") from error
    return context
