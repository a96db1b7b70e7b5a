"""Secrets as they would look if they had got out: looked for in whatever somebody can see."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_SHORTEST = 16  # bytes of a form: anything shorter could be there by chance


@dataclass
class Canaries:
    """What nobody may see: by name, in each form that it could take."""

    forms: dict[str, set[bytes]] = field(default_factory=dict)

    def key(self, name: str, pem: bytes) -> None:
        """Take in the private key ``pem``: as it stands, and the number that is the key."""
        self.secret(name, pem.strip())
        body = b"".join(line for line in pem.splitlines() if line and not line.startswith(b"-----"))
        self.secret(name, base64.b64decode(body))
        self.forms[name].add(body)
        for line in pem.splitlines():
            if len(line) >= _SHORTEST and not line.startswith(b"-----"):
                self.forms[name].add(line)  # as a log that cuts lines would show it
        loaded = serialization.load_pem_private_key(pem, None)
        if isinstance(loaded, EllipticCurvePrivateKey):
            number = loaded.private_numbers().private_value
            self.secret(name, number.to_bytes(32))
            self.forms[name].add(str(number).encode())

    def token(self, name: str, text: str) -> None:
        """Take in the token ``text``: all of it, and its signature, without which the rest is of no use."""
        self.secret(name, text.encode())
        self.secret(name, text.rpartition(".")[2].encode())

    def secret(self, name: str, secret: bytes) -> None:
        """Take in ``secret``, which is called ``name``."""
        self.forms.setdefault(name, set()).update(each for each in _forms(secret) if len(each) >= _SHORTEST)

    def seen(self, text: bytes) -> set[str]:
        """Return which secrets are somewhere in ``text``."""
        return {name for name, forms in self.forms.items() if any(form in text for form in forms)}


def _forms(secret: bytes) -> Iterator[bytes]:
    yield secret
    yield secret.replace(b"\n", b"\\n")  # in JSON, and in what Python shows
    yield secret.replace(b"\n", b"\\\\n")
    yield secret.replace(b"\n", b" ")
    yield secret.replace(b"\n", b"")
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    yield secret.hex(":").encode()
    yield repr(secret)[2:-1].encode()
    yield quote(secret, safe="").encode()
    yield quote(secret).encode()
    yield quote_plus(secret).encode()
    for before in range(3):  # within something longer that is encoded
        padded = b"\0" * before + secret
        for encoded in (base64.b64encode(padded), base64.urlsafe_b64encode(padded)):
            yield encoded[(before * 8 + 5) // 6 : len(padded) * 8 // 6]
