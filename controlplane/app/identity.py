"""Puts together what issues identities: the authority, the store of its state, the review of tokens, and what depends on it."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from controlplane.admin.schemas import IdentityRow, RootRow, WaitingFor
from controlplane.app.api_server import ApiServer, BackgroundTask
from controlplane.app.update_loop import UpdateLoop
from controlplane.ca.certificates import read_certificates
from controlplane.ca.file_store import FileStore
from controlplane.ca.manager import Observed, PluggedIn, StateStore, stored_key
from controlplane.kube.client import Client
from controlplane.kube.reflector import ReflectorTiming
from controlplane.kube.secret_store import SecretStore
from controlplane.mesh.mesh import Mesh
from controlplane.model.hosts import is_ip
from controlplane.serve.authn.authenticators import TokenReviewer
from controlplane.serve.authn.refused_callers import RefusedCallers
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
    """What issues identities, what keeps the roots in a cluster for workloads that have none yet, and the tasks of both."""

    identity_server: IdentityServer
    roots: RootCertificates | None
    tasks: tuple[BackgroundTask, ...]


async def open_identities(
    settings: Settings, api: ApiServer | None, mesh: Mesh, updates: UpdateLoop, files: FileSecrets
) -> Identities | None:
    """Return the identities that ``settings`` ask for, if they do, open; raises NavarchError, OSError.

    Their names are in the trust domain of ``mesh``. Credentials are those of ``files``, and of ``api`` where there is one; ``updates``
    gets the verdicts on them. Roots are kept at ``api`` from when the mesh is synced.
    """
    if settings.identity is None:
        return None

    def injected() -> frozenset[str] | None:
        return mesh.injected_namespaces() if updates.synced.is_set() else None

    identity_server = await _open_identity_server(settings.identity, api, mesh)
    credentials = _credentials(identity_server, files, api, mesh, updates)
    roots = _roots(identity_server, api, injected) if api else None
    return Identities(identity_server, roots, (*credentials, identity_server, *([roots] if roots else [])))


async def _open_identity_server(identity: IdentitySettings, api: ApiServer | None, mesh: Mesh) -> IdentityServer:
    config = IdentityConfig(
        store=_store(identity, api),
        token_reviewer=await _token_reviewer(identity, api.client if api else None),
        names=tuple(dict.fromkeys((*NAMES, *_listening(identity), *identity.names))),
        leaf_lifetime=dt.timedelta(seconds=identity.leaf_lifetime_s),
        connection_age_s=identity.connection_age_s,
        trust_domain=lambda: mesh.settings().trust_domain,
        random=random.random,
        names_of=mesh.counted_workloads.names_in_certificate,
    )
    identity_server = IdentityServer(config)
    await identity_server.open()
    return identity_server


def _listening(identity: IdentitySettings) -> Iterator[str]:
    """Yield the hosts of the addresses of ``identity``, but for those that stand for every address."""
    for address in filter(None, (identity.xds_tls, identity.xds_mtls)):
        host = address.rpartition(":")[0].strip("[]")
        if not is_ip(host) or not ip_address(host).is_unspecified:
            yield host


def authority_store(client: Client, namespace: str) -> StateStore:
    """Return where the authority of the cluster of ``client`` is kept, in ``namespace``."""
    return SecretStore(client, (namespace, AUTHORITY_SECRET), "authority.json")


def _roots(identity_server: IdentityServer, api: ApiServer, injected: Callable[[], frozenset[str] | None]) -> RootCertificates:
    """Return what keeps the roots of ``identity_server`` in the namespaces of ``api`` that are ``injected``."""

    def bundle() -> str:
        return identity_server.manager.state.bundle.decode()  # of the state as it is then

    wanted = RootCertificateInputs(
        namespaces=injected,
        bundle=bundle,
        clock=now,
        settle=dt.timedelta(seconds=api.settings.settle_s),
    )
    timing = ReflectorTiming.silent(api.settings.watch_timeout_s)
    return root_certificates(api.client, api.leader, wanted, api.settings.namespaces, timing, random.random)


def _credentials(
    identity_server: IdentityServer, files: FileSecrets, api: ApiServer | None, mesh: Mesh, updates: UpdateLoop
) -> tuple[ReferredCredentials | WatchedSecrets, ...]:
    """Return what keeps the credentials that objects of ``mesh`` refer to, of ``files`` and ``api``, in tables of ``identity_server``."""
    watched = (WatchedSecrets(api.client, ReflectorTiming.silent(api.settings.watch_timeout_s), random.random),) if api else ()
    inputs = CredentialInputs(
        stores=(files, *watched),
        access=AccessReviews(api.client, time.monotonic) if api else NamespaceAccess(),
        referred=mesh.referred_credentials,
        put=identity_server.secrets.put,
        submit=lambda verdict: updates.submit("credentials", (verdict,)),
        clock=now,
    )
    credentials = ReferredCredentials(inputs)
    identity_server.secrets.credentials = credentials
    return (credentials, *watched)


def published_identity(row: IdentityRow | None) -> str:
    """Return what other replicas and operators are to know of ``row``: as little as possible, as it is written whenever it changes."""
    if row is None:
        return "{}"
    return row.model_dump_json(by_alias=True, include={"phase", "bundle", "waiting_for"})


def _store(identity: IdentitySettings, api: ApiServer | None) -> StateStore:
    if identity.ca_certs:
        return PluggedIn(Path(identity.ca_certs))
    if api and not identity.state:
        namespace = api.settings.system_namespace
        stored = authority_store(api.client, namespace)
        return stored if api.settings.replica else Observed(stored, f"the Secret {AUTHORITY_SECRET} in {namespace}")
    return FileStore(Path(identity.state or ""))


async def _token_reviewer(identity: IdentitySettings, client: Client | None) -> TokenReviewer:
    if client:
        return TokenReviews(client, identity.audience, time.monotonic)
    key = await stored_key(FileStore(Path(identity.state or ""), SIGNING_KEY_FILE), make_key)
    return LocalTokens(key.public_key(), identity.audience, now)


def identity_row(identities: Identities, refused: RefusedCallers) -> IdentityRow:
    """Return what may be seen of ``identities``, and of callers that were ``refused``."""
    identity_server = identities.identity_server
    state, (bundles, leaves) = identity_server.manager.state, identity_server.secrets.waiting()
    first = identity_server.leaf_certificates.first_expiry()
    roots = (
        RootRow(
            root=issuer.fingerprint[:32],
            signs=issuer is state.signing,
            expires_at=min(certificate.not_valid_after_utc for certificate in read_certificates(issuer.root)).timestamp(),
            issuer_expires_at=issuer.signer.certificate.not_valid_after_utc.timestamp(),
        )
        for issuer in state.issuers
    )
    return IdentityRow(
        phase=state.phase.value,
        bundle=state.bundle_id,
        roots=tuple(roots),
        waiting_for=WaitingFor(bundle=bundles, certificate=leaves, namespaces=identities.roots.waiting() if identities.roots else 0),
        certificates=len(identity_server.leaf_certificates),
        issued=identity_server.leaf_certificates.issued + identity_server.certificate_signer.answers["signed"],
        requests=dict(identity_server.certificate_signer.answers),
        first_expires_at=first.timestamp() if first else None,
        refused=dict(refused.counts_by_name()),
        credentials=identity_server.secrets.credentials.counts() if identity_server.secrets.credentials else {},
    )
