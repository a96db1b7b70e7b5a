"""The cipher suites of TLS 1.2 and below that every supported Envoy knows, in OpenSSL's spelling and in that of the standards.

One name that it does not know makes it refuse the whole listener. Those of TLS 1.3 cannot be chosen.
ECDHE-ECDSA-AES128-SHA256 is known from Envoy 1.38 on.
https://boringssl.googlesource.com/boringssl/+/refs/heads/main/ssl/ssl_cipher.cc
"""

from __future__ import annotations

from collections.abc import Iterable

_SUITES = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "ECDHE-ECDSA-AES128-SHA": "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "ECDHE-ECDSA-AES256-SHA": "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "ECDHE-RSA-AES128-GCM-SHA256": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384": "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305": "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "ECDHE-RSA-AES128-SHA": "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "ECDHE-RSA-AES128-SHA256": "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "ECDHE-RSA-AES256-SHA": "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "ECDHE-PSK-CHACHA20-POLY1305": "TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256",
    "ECDHE-PSK-AES128-CBC-SHA": "TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA",
    "ECDHE-PSK-AES256-CBC-SHA": "TLS_ECDHE_PSK_WITH_AES_256_CBC_SHA",
    "AES128-GCM-SHA256": "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "AES256-GCM-SHA384": "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "AES128-SHA": "TLS_RSA_WITH_AES_128_CBC_SHA",
    "AES256-SHA": "TLS_RSA_WITH_AES_256_CBC_SHA",
    "PSK-AES128-CBC-SHA": "TLS_PSK_WITH_AES_128_CBC_SHA",
    "PSK-AES256-CBC-SHA": "TLS_PSK_WITH_AES_256_CBC_SHA",
    "DES-CBC3-SHA": "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
}
CIPHER_SUITES = frozenset((*_SUITES, *_SUITES.values()))


def known_suites(written: Iterable[str]) -> tuple[str, ...]:
    """Return what is known of the suites ``written``, each once, in order; ``[A|B]`` are suites of which the client chooses."""
    return tuple(dict.fromkeys(known for text in written if (known := _known(text))))


def unknown_suites(text: str) -> tuple[str, ...]:
    """Return what is not known of ``text``, a suite or several in brackets."""
    return tuple(name for name in _members(text) if name not in CIPHER_SUITES)


def _known(text: str) -> str:
    names = [name for name in _members(text) if name in CIPHER_SUITES]
    return f"[{'|'.join(names)}]" if len(names) > 1 else "".join(names)


def _members(text: str) -> list[str]:
    return text[1:-1].split("|") if text.startswith("[") and text.endswith("]") else [text]
