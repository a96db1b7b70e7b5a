"""JSON Web Key Sets as issuers publish them: https://www.rfc-editor.org/rfc/rfc7517."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.errors import PlatformError
from controlplane.objects.reading.json import decode_json
from controlplane.objects.reading.yaml import UnreadableError

DISCOVERY = "/.well-known/openid-configuration"
MAX_TIMEOUT_MS = 60_000  # for one fetch, whatever an object says: few are under way at a time, for everybody
# https://www.rfc-editor.org/rfc/rfc7518#section-6: what only the issuer may know, and what others need to check its signatures
_SECRET = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))
_PUBLIC = ("kty", "kid", "alg", "use", "crv", "n", "e", "x", "y")
_HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair: JSON can write one, and nobody can encode it


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys at one address as ``text``, ``None`` where there are none, and why the last attempt at fetching them failed, if it has."""

    text: str | None = None
    failure: str = ""


class UnusableKeys(PlatformError):
    """A key set or a discovery document that cannot be used; the message says what was expected, and shows nothing of it."""


def public_keys(text: str) -> str:
    """Return the keys of the key set ``text`` and nothing else, always the same text for the same keys; raises UnusableKeys.

    A set with the secret half of a key is refused as a whole: who publishes one has lost control of the others too. A key with something
    else than a text where one belongs is left out: Envoy refuses a listener over a number or a character that it cannot read.
    """
    document = _document(text)
    keys = document.get("keys", [document] if "kty" in document else None)  # one key alone, where somebody writes it into an object
    if not isinstance(keys, list) or not keys:
        raise UnusableKeys("expected a JSON Web Key Set (RFC 7517) with at least one key")
    usable = []
    for key in keys:
        if not isinstance(key, Mapping) or not isinstance(key.get("kty"), str):
            raise UnusableKeys("expected a JSON Web Key Set (RFC 7517), each of its keys with a kty")
        if secret := sorted(_SECRET & key.keys()):
            raise UnusableKeys(f"expected public keys, found one with its secret part {secret[0]!r}: none of them can be trusted")
        public = {name: key[name] for name in _PUBLIC if name in key}
        if all(_is_text(value) for value in public.values()):
            usable.append(public)
    if not usable:
        raise UnusableKeys("expected a JSON Web Key Set (RFC 7517) with at least one key whose fields are texts")
    return json.dumps({"keys": usable}, separators=(",", ":"))


def discovered_jwks_url(text: str, issuer: str) -> str:
    """Return where the discovery document ``text`` says that the keys of ``issuer`` are; raises UnusableKeys.

    https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfigurationValidation
    """
    document = _document(text)
    named_issuer, jwks_url = document.get("issuer"), document.get("jwks_uri")
    if not isinstance(jwks_url, str):
        raise UnusableKeys("expected an OpenID discovery document with a jwks_uri")
    if not isinstance(named_issuer, str) or named_issuer.rstrip("/") != issuer.rstrip("/"):
        raise UnusableKeys("expected the OpenID discovery document of this issuer, found that of another")
    return jwks_url


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not _HALF.search(value)


def _document(text: str) -> Mapping[str, object]:
    try:
        document = decode_json(text)
    except (ValueError, UnreadableError):
        raise UnusableKeys("expected JSON") from None
    if not isinstance(document, dict):
        raise UnusableKeys("expected a JSON object")
    return document
