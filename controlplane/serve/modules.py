"""Serves modules that are too large to go with the configuration: by HTTPS, to whoever has a certificate of the mesh and names a digest."""

from __future__ import annotations

import os
import re
import ssl
import tempfile
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path

from controlplane.serve.server_certificate import ServerCertificate

PATH = "/modules/{sha256}.wasm"
_ASKED = re.compile(r"/modules/([0-9a-f]{64})\.wasm")
_PIECE_BYTES = 256 << 10

Scope = MutableMapping[str, object]
Message = MutableMapping[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ServedModules:
    """Answers with the module whose digest the path names (ASGI). Who knows a digest has it from ECDS, or from the object itself."""

    def __init__(self, content: Callable[[str], bytes | None]) -> None:
        """Answer with what ``content`` returns for a digest."""
        self._content = content
        self.served = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        del receive
        if scope["type"] != "http":
            return
        asked = _ASKED.fullmatch(str(scope["path"])) if scope["method"] == "GET" else None
        content = self._content(asked[1]) if asked else None
        if content is None:
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        headers = [(b"content-type", b"application/wasm"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        whole = memoryview(content)
        for at in range(0, len(whole), _PIECE_BYTES):
            more = at + _PIECE_BYTES < len(whole)
            await send({"type": "http.response.body", "body": bytes(whole[at : at + _PIECE_BYTES]), "more_body": more})
        self.served += 1


class PeerTls:
    """TLS with peers of the mesh alone: by the server's newest certificate, and by the roots that are trusted now."""

    def __init__(self, certificate: ServerCertificate) -> None:
        """Present ``certificate``."""
        self._certificate = certificate
        self._made: tuple[int, ssl.SSLContext] | None = None

    def __call__(self) -> ssl.SSLContext:
        """Return the context of a new connection; raises BadCertificate."""
        current = self._certificate.current
        if self._made is None or self._made[0] != current.number:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=current.bundle.decode())
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.verify_mode = ssl.CERT_REQUIRED
            with tempfile.TemporaryDirectory(prefix="navarch-") as folder:  # OpenSSL reads files only
                pair = Path(folder, "pair.pem")
                with os.fdopen(os.open(pair, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(current.pair.key + current.pair.certificate)
                context.load_cert_chain(pair)
            self._made = current.number, context
        return self._made[1]
