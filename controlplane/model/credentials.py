"""Credentials that Gateways and DestinationRules name: a certificate with its key, or an authority, in a Secret of the proxy's namespace.

The names by which SDS delivers them are Istio's: ``kubernetes://NAME``, ``kubernetes-gateway://NAMESPACE/NAME``, and for authorities the
same with ``-cacert`` at the end.
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


def certificate_name(written: str) -> str:
    """Return the SDS name of the certificate that a ``credentialName`` means which was ``written``."""
    return written if "://" in written else _OF_PROXY + written


def authority_name(written: str) -> str:
    """Return the SDS name of the authority beside the certificate of a ``credentialName`` that was ``written``, or in the Secret itself."""
    found = certificate_name(written)
    return found if found.endswith(_AUTHORITY) else found + _AUTHORITY


def parse_credential(sds_name: str, namespace: str) -> Credential | None:
    """Return the credential that ``sds_name`` means to a proxy of ``namespace``, ``None`` where it is no name of one."""
    where, name = namespace, sds_name.removeprefix(_OF_PROXY)
    if sds_name.startswith(_OF_NAMESPACE):
        where, _, name = sds_name.removeprefix(_OF_NAMESPACE).partition("/")
    elif not sds_name.startswith(_OF_PROXY):
        return None
    bare = name.removesuffix(_AUTHORITY)
    if not _SECRET.fullmatch(bare) or not _NAMESPACE.fullmatch(where):
        return None
    return Credential(where, bare, bare != name)
