"""Puts the authority of one control plane together, by where it is kept and who knows tokens."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable
from pathlib import Path

from controlplane.admin.shapes import IdentityRow, RootRow, WaitingFor
from controlplane.ca.folder import Folder
from controlplane.ca.keeper import PluggedIn, Store, kept_key
from controlplane.kube.client import Client
from controlplane.kube.kept import KeptSecret
from controlplane.serve.accounts import OwnTokens, ReviewedTokens
from controlplane.serve.doors import Accounts
from controlplane.serve.trust import NAMES, Means, Trust, make_key, now
from controlplane.settings import IdentitySettings, Settings

SECRET = "navarch-ca"  # noqa: S105
TOKENS = "tokens.pem"


async def open_trust(settings: Settings, client: Client | None, trust_domain: Callable[[], str]) -> Trust | None:
    """Return the identities that ``settings`` ask for, open; raises NavarchError, OSError."""
    identity = settings.identity
    if identity is None:
        return None
    means = Means(
        store=_store(identity, settings, client),
        accounts=await _accounts(identity, client),
        names=(*NAMES, *identity.names),
        leaf_lifetime=dt.timedelta(seconds=identity.leaf_lifetime_s),
        connection_age_s=identity.connection_age_s,
        trust_domain=trust_domain,
        random=random.random,
    )
    trust = Trust(means)
    await trust.open()
    return trust


def _store(identity: IdentitySettings, settings: Settings, client: Client | None) -> Store:
    if identity.plugged_in:
        return PluggedIn(Path(identity.plugged_in))
    if client and settings.kubernetes and not identity.state:
        return KeptSecret(client, (settings.kubernetes.home, SECRET), "authority.json")
    return Folder(Path(identity.state or ""))


async def _accounts(identity: IdentitySettings, client: Client | None) -> Accounts:
    if client:
        return ReviewedTokens(client, identity.audience, time.monotonic)
    key = await kept_key(Folder(Path(identity.state or ""), TOKENS), make_key)
    return OwnTokens(key.public_key(), identity.audience, now)


def row(trust: Trust) -> IdentityRow:
    """Return what may be seen of ``trust``."""
    state, (bundle, certificate) = trust.keeper.state, trust.secrets.waiting()
    first = trust.vault.first_expiry()
    roots = (
        RootRow(
            root=each.fingerprint[:32],
            signs=each is state.signing,
            expires_at=each.signer.certificate.not_valid_after_utc.timestamp(),
        )
        for each in state.issuers
    )
    return IdentityRow(
        phase=state.phase.value,
        bundle=state.bundle_id,
        roots=tuple(roots),
        waiting_for=WaitingFor(bundle=bundle, certificate=certificate),
        certificates=len(trust.vault),
        issued=trust.vault.issued + trust.issuing.answers["signed"],
        requests=dict(trust.issuing.answers),
        first_expires_at=first.timestamp() if first else None,
    )
