"""SPIFFE identities of workloads.

https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from controlplane.errors import PeerError

MAX_BYTES = 2048
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[a-zA-Z0-9._-]+")


class BadIdentity(PeerError, ValueError):
    """A text that is no identity of a workload; its message says what was expected, and never repeats the text."""


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """A service account of a namespace, in a trust domain; two are the same when all three parts are."""

    trust_domain: str
    namespace: str
    service_account: str

    def __post_init__(self) -> None:
        """Raise BadIdentity where a part could be taken for something else in a URI."""
        if not _TRUST_DOMAIN.fullmatch(self.trust_domain):
            raise BadIdentity("expected a trust domain of lower-case letters, digits, '.', '-' and '_'")
        for name, part in (("namespace", self.namespace), ("service account", self.service_account)):
            if not _SEGMENT.fullmatch(part) or part in (".", ".."):
                raise BadIdentity(f"expected a {name} of letters, digits, '.', '-' and '_'")
        if len(self.uri) > MAX_BYTES:
            raise BadIdentity(f"expected an identity of at most {MAX_BYTES} bytes")

    @property
    def uri(self) -> str:
        """Return the identity as certificates carry it, ``spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT``."""
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"

    def __str__(self) -> str:
        """Return the URI."""
        return self.uri


def parse_identity(uri: str) -> Identity:
    """Return the identity that ``uri`` says, exactly as ``Identity.uri`` writes it; raises BadIdentity for anything else."""
    parts = uri.split("/")
    if len(uri) > MAX_BYTES or not uri.isascii() or len(parts) != 7 or parts[:2] != ["spiffe:", ""]:
        raise BadIdentity("expected spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT")
    _, _, trust_domain, ns, namespace, sa, account = parts
    if (ns, sa) != ("ns", "sa"):
        raise BadIdentity("expected spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT")
    return Identity(trust_domain, namespace, account)
