"""Assembles the fetch of token issuers' keys, and shows its state."""

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
    """Return what fetches keys by ``settings``; raises BadTrustRoots."""
    fetch = JwksFetcher(UrlPolicy(map(parse_allowed, settings.allow), is_own_address), _tls(settings.roots), SystemResolver())
    inputs = RefreshInputs(fetch=fetch, clock=time.monotonic, sleep=asyncio.sleep, random=random.random)
    return JwksRefresher(inputs, RefreshTiming(refresh_s=settings.refresh_s))


def facts(keys: Mapping[str, KeySet]) -> list[IssuerKeys]:
    """Return ``keys``, by address, as facts."""
    return [IssuerKeys(address, key_set) for address, key_set in keys.items()]


def issuer_rows(states: Mapping[str, FetchState]) -> list[IssuerRow]:
    """Return what may be seen of ``states``, sorted."""
    now = time.monotonic()
    return [
        IssuerRow(
            uri=redacted_url(uri),
            usable=state.keys.text is not None,
            age_s=None if state.fetched_at is None else now - state.fetched_at,
            failures=state.failures,
            error=state.keys.failure or None,
            again_in_s=max(0.0, state.due - now),
        )
        for uri, state in sorted(states.items())
    ]


def _tls(roots: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if roots:
        try:
            context.load_verify_locations(roots)
        except OSError as error:  # of which those of TLS are some
            raise BadTrustRoots(f"{roots} holds no certificates that can be used: {error}") from error
    return context
