"""TLS: who has to be at the other end, what is shown to it, and by what it is checked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class Peer:
    """Who has to be at the other end: one of ``names``, or whoever is in ``within``; URIs, and the beginning of URIs."""

    names: tuple[str, ...] = ()
    within: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MeshIdentity:
    """The proxy's own certificate, and the roots of the mesh, which come with it."""


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A certificate or an authority that comes by SDS, by its ``name`` there."""

    name: str


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A certificate in files beside the proxy."""

    chain: str
    key: str


@dataclass(frozen=True, slots=True)
class AuthorityFile:
    """An authority in a file beside the proxy."""

    path: str


@dataclass(frozen=True, slots=True)
class SystemRoots:
    """The authorities that the proxy's operating system trusts."""


Certificate = MeshIdentity | SecretRef | CertificateFiles


@dataclass(frozen=True, slots=True)
class PlainUpstream:
    """No TLS, although there could be."""


@dataclass(frozen=True, slots=True)
class MeshTls:
    """Mutual TLS with the proxy's own certificate; what is empty is as it is between workloads without anybody asking."""

    names: tuple[str, ...] = ()
    server_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginatedTls:
    """TLS to a server outside of the mesh, or that does its TLS itself."""

    certificate: SecretRef | CertificateFiles | None = None  # None: none is shown
    authority: SecretRef | AuthorityFile | SystemRoots | None = None  # None: whoever it is, is not checked
    revoked: str = ""  # the file of a revocation list
    names: tuple[str, ...] = ()  # one of which its certificate has to say
    server_name: str = ""  # empty: the host of the request


class TlsVersion(Enum):
    """A version of the protocol, or whichever the proxy takes by itself."""

    AUTO = auto()
    TLS_1_0 = auto()
    TLS_1_1 = auto()
    TLS_1_2 = auto()
    TLS_1_3 = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCheck:
    """How the certificates of clients are checked."""

    authority: MeshIdentity | SecretRef | AuthorityFile
    required: bool = True
    trusted: bool = True  # whether the authority has to have issued them
    names: tuple[str, ...] = ()  # one of which they have to say
    peer: Peer | None = None  # or whom of the mesh they have to name
    keys: tuple[str, ...] = ()  # hashes of their public keys (SPKI), one of which they have
    hashes: tuple[str, ...] = ()  # their own hashes
    revoked: str = ""  # the file of a revocation list


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    """How the TLS of clients ends at a gateway or a sidecar; ``clients`` is ``None`` where they are asked for no certificate."""

    certificates: tuple[Certificate, ...]
    clients: ClientCheck | None = None
    lowest: TlsVersion = TlsVersion.AUTO
    highest: TlsVersion = TlsVersion.AUTO
    cipher_suites: tuple[str, ...] = ()
