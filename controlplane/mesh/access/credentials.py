"""Which credentials Gateways and DestinationRules name, and what is known to be wrong with them. Their content is never here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from controlplane.incremental.database import Database, eager_query, query
from controlplane.mesh.destinations.destination_rules import tls_settings
from controlplane.mesh.facets import namespaces_with, of_kind
from controlplane.mesh.inputs import credential_problems, index, objects
from controlplane.model.credentials import authority_name, certificate_name
from controlplane.model.keys import DESTINATION_RULE, GATEWAY, Key
from controlplane.model.problems import FieldAtFault, Problem, Severity
from controlplane.objects.networking.destination_rule import ClientTLSSettings, DestinationRule
from controlplane.objects.networking.gateway import Gateway
from controlplane.objects.networking.sidecar import ServerTLSSettings

_KINDS = (GATEWAY, DESTINATION_RULE)


@query
def referred_credentials(db: Database) -> frozenset[str]:
    """Return the names in SDS of all credentials that something refers to: nothing else is read."""
    return frozenset(credential_users(db))


@query
def credential_users(db: Database) -> Mapping[str, tuple[FieldAtFault, ...]]:
    """Return the fields that refer to each credential, by its name in SDS."""
    keys = (key for kind in _KINDS for marker in index(db, namespaces_with(kind)) for key in index(db, of_kind(kind, marker.namespace)))
    users: dict[str, list[FieldAtFault]] = defaultdict(list)
    for key in keys:
        for path, name in credentials_of(db, key):
            users[name].append(FieldAtFault(key, path))
    return {name: tuple(sorted(fields)) for name, fields in users.items()}


@eager_query
def credentials_of(db: Database, key: Key) -> tuple[tuple[str, str], ...]:
    """Return the credentials that the object ``key`` refers to: the field, and the name in SDS."""
    match objects(db, key):
        case Gateway() as gateway:
            return tuple(
                credential
                for position, server in enumerate(gateway.spec.servers)
                if server.tls
                for credential in _server_credentials(f"spec.servers[{position}].tls", server.tls)
            )
        case DestinationRule() as destination_rule:
            return tuple(credential for path, tls in tls_settings(destination_rule) for credential in _client_credentials(path, tls))
        case _:
            return ()


def problems_of_credentials(db: Database, key: Key) -> Iterator[Problem]:
    """Yield what is wrong with the credentials that the object ``key`` refers to, as far as proxies have asked for them."""
    for path, name in credentials_of(db, key):
        for fault in credential_problems(db, name):
            given = "is given to proxies of {}, but not all of it" if fault.given else "cannot be given to proxies of {}"
            message = f"{name} {given.format(fault.namespace)}: {fault.reason}"
            yield Problem(key, path, Severity.WARNING, "BadCredential", message)


def _server_credentials(path: str, tls: ServerTLSSettings) -> Iterator[tuple[str, str]]:
    for field, name in (
        ("credentialName", tls.credential_name),
        *((f"credentialNames[{position}]", name) for position, name in enumerate(tls.credential_names)),
    ):
        if name:
            yield f"{path}.{field}", certificate_name(name)
            if not tls.ca_cert_credential_name:
                yield f"{path}.{field}", authority_name(name)
    if tls.ca_cert_credential_name:
        yield f"{path}.caCertCredentialName", authority_name(tls.ca_cert_credential_name)


def _client_credentials(path: str, tls: ClientTLSSettings) -> Iterator[tuple[str, str]]:
    if tls.credential_name:
        yield f"{path}.credentialName", certificate_name(tls.credential_name)
        yield f"{path}.credentialName", authority_name(tls.credential_name)
