"""Credentials that Gateways and DestinationRules name: a certificate with its key, or an authority, in a Secret of the proxy's namespace.

They are written as ``NAME``, as ``NAMESPACE/NAME``, or as SDS delivers them. Its names are Istio's: ``kubernetes://NAME``,
``kubernetes-gateway://NAMESPACE/NAME``, and for authorities the same with ``-cacert`` at the end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_OF_PROXY = "kubernetes://"
_OF_NAMESPACE = "kubernetes-gateway://"
_AUTHORITY = "-cacert"
_SECRET = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, order=True)
class Credential:
    """A Secret, and whether its certificate with the key is meant or the authority in it."""

    namespace: str
    name: str
    authority: bool = False


def certificate_name(credential_name: str) -> str:
    """Return the SDS name of the certificate that ``credential_name`` (a ``credentialName``) means."""
    if "://" in credential_name:
        return credential_name
    return (_OF_NAMESPACE if "/" in credential_name else _OF_PROXY) + credential_name


def authority_name(credential_name: str) -> str:
    """Return the SDS name of the authority beside the certificate of ``credential_name``, or in that Secret itself."""
    name = certificate_name(credential_name)
    return name if name.endswith(_AUTHORITY) else name + _AUTHORITY


def names_a_secret(credential_name: str) -> bool:
    """Return whether ``credential_name`` (a ``credentialName``) can mean a Secret at all."""
    return parse_credential(certificate_name(credential_name), "default") is not None


def parse_credential(sds_name: str, namespace: str) -> Credential | None:
    """Return the credential that ``sds_name`` means to a proxy of ``namespace``, ``None`` where it is no name of one."""
    secret_namespace, name = namespace, sds_name.removeprefix(_OF_PROXY)
    if sds_name.startswith(_OF_NAMESPACE):
        secret_namespace, _, name = sds_name.removeprefix(_OF_NAMESPACE).partition("/")
    elif not sds_name.startswith(_OF_PROXY):
        return None
    bare = name.removesuffix(_AUTHORITY)
    if not _SECRET.fullmatch(bare) or not _NAMESPACE.fullmatch(secret_namespace):
        return None
    return Credential(secret_namespace, bare, bare != name)
