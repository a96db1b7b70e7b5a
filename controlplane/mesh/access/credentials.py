"""Which credentials Gateways and DestinationRules name, and what is known to be wrong with them. Their content is never here."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database, query
from controlplane.mesh.inputs import credential_problems, index, namespaces_with, objects, of_kind
from controlplane.model.credentials import authority_name, certificate_name
from controlplane.model.keys import DESTINATION_RULE, GATEWAY, Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.networking.destination_rule import ClientTLSSettings, DestinationRule, TrafficPolicy
from controlplane.objects.networking.gateway import Gateway
from controlplane.objects.networking.sidecar import ServerTLSSettings

_KINDS = (GATEWAY, DESTINATION_RULE)


@query
def referred_credentials(db: Database) -> frozenset[str]:
    """Return the names in SDS of all credentials that something refers to: nothing else is read."""
    keys = (key for kind in _KINDS for each in index(db, namespaces_with(kind)) for key in index(db, of_kind(kind, each.namespace)))
    return frozenset(name for key in keys for _, name in credentials_of(db, key))


@query
def credentials_of(db: Database, key: Key) -> tuple[tuple[str, str], ...]:
    """Return the credentials that the object ``key`` refers to: the field, and the name in SDS."""
    match objects(db, key):
        case Gateway() as value:
            return tuple(
                found
                for at, server in enumerate(value.spec.servers)
                if server.tls
                for found in _of_server(f"spec.servers[{at}].tls", server.tls)
            )
        case DestinationRule() as value:
            found = list(_of_policy("spec.trafficPolicy", value.spec.traffic_policy))
            for at, subset in enumerate(value.spec.subsets):
                found += _of_policy(f"spec.subsets[{at}].trafficPolicy", subset.traffic_policy)
            return tuple(found)
        case _:
            return ()


def problems_of_credentials(db: Database, key: Key) -> Iterator[Problem]:
    """Yield what is wrong with the credentials that the object ``key`` refers to, as far as proxies have asked for them."""
    for path, name in credentials_of(db, key):
        for namespace, reason in credential_problems(db, name):
            message = f"{name} cannot be given to proxies of {namespace}: {reason}"
            yield Problem(key, path, Severity.WARNING, "BadCredential", message)


def _of_server(path: str, tls: ServerTLSSettings) -> Iterator[tuple[str, str]]:
    for field, each in (
        ("credentialName", tls.credential_name),
        *((f"credentialNames[{at}]", n) for at, n in enumerate(tls.credential_names)),
    ):
        if each:
            yield f"{path}.{field}", certificate_name(each)
            if not tls.ca_cert_credential_name:
                yield f"{path}.{field}", authority_name(each)
    if tls.ca_cert_credential_name:
        yield f"{path}.caCertCredentialName", authority_name(tls.ca_cert_credential_name)


def _of_policy(path: str, policy: TrafficPolicy | None) -> Iterator[tuple[str, str]]:
    if policy is None:
        return
    yield from _of_client(f"{path}.tls", policy.tls)
    for at, each in enumerate(policy.port_level_settings):
        yield from _of_client(f"{path}.portLevelSettings[{at}].tls", each.tls)


def _of_client(path: str, tls: ClientTLSSettings | None) -> Iterator[tuple[str, str]]:
    if tls and tls.credential_name:
        yield f"{path}.credentialName", certificate_name(tls.credential_name)
        yield f"{path}.credentialName", authority_name(tls.credential_name)
