"""Puts the identities of one control plane together: the authority, by where it is kept and who knows tokens, and what depends on it."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controlplane.admin.schemas import IdentityRow, RootRow, WaitingFor
from controlplane.app.api_server import ApiServer, BackgroundTask
from controlplane.app.update_loop import UpdateLoop
from controlplane.ca.certificates import read_certificates
from controlplane.ca.file_store import FileStore
from controlplane.ca.manager import PluggedIn, StateStore, stored_key
from controlplane.kube.client import Client
from controlplane.kube.reflector import ReflectorTiming
from controlplane.kube.secret_store import SecretStore
from controlplane.mesh.mesh import Mesh
from controlplane.serve.authn.authenticators import AuthenticationFailure, TokenReviewer
from controlplane.serve.authn.tokens import LocalTokens, TokenReviews
from controlplane.serve.identity import NAMES, IdentityConfig, IdentityServer, make_key, now
from controlplane.serve.sds.access_review import AccessReviews, NamespaceAccess
from controlplane.serve.sds.credentials import CredentialInputs, ReferredCredentials
from controlplane.serve.sds.secret_stores import FileSecrets, WatchedSecrets
from controlplane.settings import IdentitySettings, Settings
from controlplane.writeback.root_certificates import RootCertificateInputs, RootCertificates, root_certificates

AUTHORITY_SECRET = "navarch-ca"  # noqa: S105
SIGNING_KEY_FILE = "tokens.pem"


@dataclass(frozen=True, slots=True)
class Identities:
    """The identities that are given, the roots that are kept in a cluster for those who have none yet, and all that runs for both."""

    trust: IdentityServer
    roots: RootCertificates | None
    tasks: tuple[BackgroundTask, ...]


async def open_identities(
    settings: Settings, api: ApiServer | None, mesh: Mesh, updates: UpdateLoop, files: FileSecrets
) -> Identities | None:
    """Return the identities that ``settings`` ask for, if they do, open; raises NavarchError, OSError.

    Their names are in the trust domain of ``mesh``. Credentials are those of ``files``, and of ``api`` where there is one; ``updates``
    takes in which cannot be used. Roots are kept at ``api`` from when the mesh is synced.
    """
    if settings.identity is None:
        return None

    def injected() -> frozenset[str] | None:
        return mesh.injected_namespaces() if updates.synced.is_set() else None

    trust = await _open_trust(settings.identity, api, lambda: mesh.settings().trust_domain)
    credentials = _credentials(trust, files, api, mesh, updates)
    roots = _roots(trust, api, injected) if api else None
    return Identities(trust, roots, (*credentials, trust, *([roots] if roots else [])))


async def _open_trust(identity: IdentitySettings, api: ApiServer | None, trust_domain: Callable[[], str]) -> IdentityServer:
    means = IdentityConfig(
        store=_store(identity, api),
        accounts=await _accounts(identity, api.client if api else None),
        names=(*NAMES, *identity.names),
        leaf_lifetime=dt.timedelta(seconds=identity.leaf_lifetime_s),
        connection_age_s=identity.connection_age_s,
        trust_domain=trust_domain,
        random=random.random,
    )
    trust = IdentityServer(means)
    await trust.open()
    return trust


def authority_store(client: Client, home: str) -> StateStore:
    """Return where the authority of the cluster of ``client`` is kept, in the namespace ``system_namespace``."""
    return SecretStore(client, (home, AUTHORITY_SECRET), "authority.json")


def _roots(trust: IdentityServer, api: ApiServer, injected: Callable[[], frozenset[str] | None]) -> RootCertificates:
    """Return what keeps the roots of ``trust`` in the namespaces of ``api`` that are ``injected``."""

    def bundle() -> str:
        return trust.manager.state.bundle.decode()  # of the state as it is then

    wanted = RootCertificateInputs(
        namespaces=injected,
        bundle=bundle,
        clock=now,
        settle=dt.timedelta(seconds=api.settings.settle_s),
    )
    timing = ReflectorTiming.silent(api.settings.watch_timeout_s)
    return root_certificates(api.client, api.leader, wanted, api.settings.namespaces, timing, random.random)


def _credentials(
    trust: IdentityServer, files: FileSecrets, api: ApiServer | None, mesh: Mesh, updates: UpdateLoop
) -> tuple[ReferredCredentials | WatchedSecrets, ...]:
    """Return what keeps the credentials that objects of ``mesh`` refer to, of ``files`` and of ``api``, for the holders of ``trust``."""
    watched = (WatchedSecrets(api.client, ReflectorTiming.silent(api.settings.watch_timeout_s), random.random),) if api else ()
    world = CredentialInputs(
        stores=(files, *watched),
        rights=AccessReviews(api.client, time.monotonic) if api else NamespaceAccess(),
        referred=mesh.referred_credentials,
        put=trust.secrets.put,
        tell=lambda verdict: updates.submit("credentials", (verdict,)),
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


def _store(identity: IdentitySettings, api: ApiServer | None) -> StateStore:
    if identity.ca_certs:
        return PluggedIn(Path(identity.ca_certs))
    if api and not identity.state:
        return authority_store(api.client, api.settings.system_namespace)
    return FileStore(Path(identity.state or ""))


async def _accounts(identity: IdentitySettings, client: Client | None) -> TokenReviewer:
    if client:
        return TokenReviews(client, identity.audience, time.monotonic)
    key = await stored_key(FileStore(Path(identity.state or ""), SIGNING_KEY_FILE), make_key)
    return LocalTokens(key.public_key(), identity.audience, now)


def identity_row(identities: Identities) -> IdentityRow:
    """Return what may be seen of ``identities``."""
    trust, kept = identities.trust, identities.roots
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
