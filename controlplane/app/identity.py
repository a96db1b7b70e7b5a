"""Puts the authority of one control plane together, by where it is kept and who knows tokens."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from controlplane.admin.schemas import IdentityRow, RootRow, WaitingFor
from controlplane.ca.certificates import read_certificates
from controlplane.ca.file_store import FileStore
from controlplane.ca.manager import PluggedIn, StateStore, stored_key
from controlplane.kube.client import Client
from controlplane.kube.reflector import ReflectorTiming
from controlplane.kube.secret_store import SecretStore
from controlplane.serve.authn.authenticators import AuthenticationFailure, TokenReviewer
from controlplane.serve.authn.tokens import LocalTokens, TokenReviews
from controlplane.serve.identity import NAMES, Identities, IdentityConfig, make_key, now
from controlplane.serve.sds.access_review import AccessReviews, NamespaceAccess
from controlplane.serve.sds.credentials import CredentialInputs, Reasons, ReferredCredentials
from controlplane.serve.sds.secret_stores import FileSecrets, WatchedSecrets
from controlplane.settings import IdentitySettings, KubernetesSettings, Settings
from controlplane.writeback.root_certificates import Held, RootCertificateInputs, RootCertificates, root_certificates

AUTHORITY_SECRET = "navarch-ca"  # noqa: S105
SIGNING_KEY_FILE = "tokens.pem"
Referred: TypeAlias = Callable[[], frozenset[str]]
Tell: TypeAlias = Callable[[Reasons], None]


async def open_identities(settings: Settings, client: Client | None, trust_domain: Callable[[], str]) -> Identities | None:
    """Return the identities that ``settings`` ask for, open; raises NavarchError, OSError."""
    identity = settings.identity
    if identity is None:
        return None
    means = IdentityConfig(
        store=_store(identity, settings, client),
        accounts=await _accounts(identity, client),
        names=(*NAMES, *identity.names),
        leaf_lifetime=dt.timedelta(seconds=identity.leaf_lifetime_s),
        connection_age_s=identity.connection_age_s,
        trust_domain=trust_domain,
        random=random.random,
    )
    trust = Identities(means)
    await trust.open()
    return trust


def authority_store(client: Client, home: str) -> StateStore:
    """Return where the authority of the cluster of ``client`` is kept, in the namespace ``system_namespace``."""
    return SecretStore(client, (home, AUTHORITY_SECRET), "authority.json")


def root_certificates_of(
    trust: Identities, client: Client, cluster: KubernetesSettings, leader: Held, injected: Callable[[], frozenset[str] | None]
) -> RootCertificates:
    """Return what keeps the roots of ``trust`` in the namespaces that are ``injected``, while ``leader`` is held."""

    def bundle() -> str:
        return trust.manager.state.bundle.decode()  # of the state as it is then

    wanted = RootCertificateInputs(
        namespaces=injected,
        bundle=bundle,
        clock=now,
        settle=dt.timedelta(seconds=cluster.settle_s),
    )
    timing = ReflectorTiming.silent(cluster.watch_timeout_s)
    return root_certificates(client, leader, wanted, cluster.namespaces, timing, random.random)


def referred_credentials(
    trust: Identities, given: FileSecrets, client: Client | None, cluster: KubernetesSettings | None, mesh: tuple[Referred, Tell]
) -> tuple[ReferredCredentials | WatchedSecrets, ...]:
    """Return what keeps the credentials that objects of ``mesh`` refer to: those that files have ``given``, and those of a ``cluster``."""
    watched = (WatchedSecrets(client, ReflectorTiming.silent(cluster.watch_timeout_s), random.random),) if client and cluster else ()
    referred, tell = mesh
    world = CredentialInputs(
        stores=(given, *watched),
        rights=AccessReviews(client, time.monotonic) if client else NamespaceAccess(),
        referred=referred,
        put=trust.secrets.put,
        tell=tell,
        clock=now,
    )
    credentials = ReferredCredentials(world)
    trust.secrets.credentials = credentials
    return (credentials, *watched)


def published_identity(found: IdentityRow | None) -> str:
    """Return what other replicas and operators are to know of ``found``: as little as possible, as it is written whenever it changes."""
    if found is None:
        return "{}"
    return found.model_dump_json(by_alias=True, include={"phase", "bundle", "waiting_for"})


def _store(identity: IdentitySettings, settings: Settings, client: Client | None) -> StateStore:
    if identity.ca_certs:
        return PluggedIn(Path(identity.ca_certs))
    if client and settings.kubernetes and not identity.state:
        return authority_store(client, settings.kubernetes.system_namespace)
    return FileStore(Path(identity.state or ""))


async def _accounts(identity: IdentitySettings, client: Client | None) -> TokenReviewer:
    if client:
        return TokenReviews(client, identity.audience, time.monotonic)
    key = await stored_key(FileStore(Path(identity.state or ""), SIGNING_KEY_FILE), make_key)
    return LocalTokens(key.public_key(), identity.audience, now)


def identity_row(trust: Identities, kept: RootCertificates | None) -> IdentityRow:
    """Return what may be seen of ``trust``, and of the roots that are ``kept`` in a cluster."""
    state, (bundle, certificate) = trust.manager.state, trust.secrets.waiting()
    first = trust.leaf_certificates.first_expiry()
    roots = (
        RootRow(
            root=each.fingerprint[:32],
            signs=each is state.signing,
            expires_at=min(found.not_valid_after_utc for found in read_certificates(each.root)).timestamp(),
            issuer_expires_at=each.signer.certificate.not_valid_after_utc.timestamp(),
        )
        for each in state.issuers
    )
    return IdentityRow(
        phase=state.phase.value,
        bundle=state.bundle_id,
        roots=tuple(roots),
        waiting_for=WaitingFor(bundle=bundle, certificate=certificate, namespaces=kept.waiting() if kept else 0),
        certificates=len(trust.leaf_certificates),
        issued=trust.leaf_certificates.issued + trust.issuing.answers["signed"],
        requests=dict(trust.issuing.answers),
        first_expires_at=first.timestamp() if first else None,
        refused={each.value: trust.refused()[each] for each in AuthenticationFailure},
        credentials=trust.secrets.credentials.counts() if trust.secrets.credentials else {},
    )
