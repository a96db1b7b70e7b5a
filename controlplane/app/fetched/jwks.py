"""Assembles the fetch of token issuers' keys, and shows its state."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Mapping
from typing import TypeAlias

from controlplane.admin.schemas import IssuerRow
from controlplane.errors import UserError
from controlplane.mesh.facts import IssuerKeys
from controlplane.objects.security.jwks import KeySet, UnusableKeys
from controlplane.settings import JwksSettings
from controlplane.sources.fetched.client import SystemResolver, is_own_address
from controlplane.sources.fetched.refresh import Content, Fetched, FetchState, Refresher, RefreshInputs, RefreshTiming, redacted_url
from controlplane.sources.fetched.url_policy import UrlPolicy, parse_allowed
from controlplane.sources.jwks.fetch import JwksFetcher

JwksRefresher: TypeAlias = Refresher[str, int | None, str]  # by address; with how many milliseconds an answer is waited for
KEYS: Content[str] = Content(name="keys", most=1000, unusable=UnusableKeys, shown=redacted_url)  # each may hold a megabyte


class BadTrustRoots(UserError):
    """The file of authorities cannot be used."""


def jwks_refresher(settings: JwksSettings) -> JwksRefresher:
    """Return what fetches keys by ``settings``; raises BadTrustRoots."""
    fetch = JwksFetcher(UrlPolicy(map(parse_allowed, settings.allow), is_own_address), trusting(settings.roots), SystemResolver())
    inputs: RefreshInputs[str, int | None, str] = RefreshInputs(
        fetch=fetch, clock=time.monotonic, sleep=asyncio.sleep, random=random.random
    )
    return JwksRefresher(KEYS, inputs, RefreshTiming(refresh_s=settings.refresh_s))


def facts(keys: Mapping[str, Fetched[str]]) -> list[IssuerKeys]:
    """Return ``keys``, by address, as facts."""
    return [IssuerKeys(address, KeySet(fetched.value, fetched.failure)) for address, fetched in keys.items()]


def issuer_rows(states: Mapping[str, FetchState[str]]) -> list[IssuerRow]:
    """Return what may be seen of ``states``, sorted."""
    now = time.monotonic()
    return [
        IssuerRow(
            uri=redacted_url(uri),
            usable=state.fetched.value is not None,
            age_s=None if state.fetched_at is None else now - state.fetched_at,
            failures=state.failures,
            error=state.fetched.failure or None,
            again_in_s=max(0.0, state.due - now),
        )
        for uri, state in sorted(states.items())
    ]


def trusting(roots: str | None) -> ssl.SSLContext:
    """Return what believes the system's authorities, and those of the file ``roots``; raises BadTrustRoots."""
    context = ssl.create_default_context()
    if roots:
        try:
            context.load_verify_locations(roots)
        except OSError as error:  # of which those of TLS are some
            raise BadTrustRoots(f"{roots} holds no certificates that can be used: {error}") from error
    return context
