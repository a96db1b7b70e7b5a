"""A few bytes that are kept in a Secret, and changed only by compare and swap."""

from __future__ import annotations

import base64

from controlplane.kube.client import Client
from controlplane.kube.errors import StatusError
from controlplane.kube.resources import SECRETS
from controlplane.untyped import Json, section, text


class SecretStore:
    """One entry of a Secret of our own."""

    def __init__(self, client: Client, key: tuple[str, str], entry: str) -> None:
        """Keep ``entry`` of the Secret ``key`` (namespace, name)."""
        self._client = client
        self._namespace, self._name = key
        self._entry = entry
        self._metadata: Json = {}

    async def read(self) -> bytes | None:
        """Return what is stored, ``None`` if nothing is; raises KubernetesError."""
        try:
            secret = await self._client.get(SECRETS.path(self._namespace, self._name))
        except StatusError as error:
            if not error.not_found:
                raise
            self._metadata = {}
            return None
        self._metadata = section(secret, "metadata")
        try:
            return base64.b64decode(text(section(secret, "data"), self._entry), validate=True) or None
        except ValueError:
            return None

    async def write(self, content: bytes, expected: bytes | None) -> bool:
        """Store ``content`` if what is stored is ``expected``; return whether it was. Raises KubernetesError."""
        if await self.read() != expected:
            return False
        body: Json = {
            "apiVersion": SECRETS.api_version,
            "kind": SECRETS.kind,
            "type": "Opaque",
            "metadata": {"name": self._name, "namespace": self._namespace, **self._metadata},
            "data": {self._entry: base64.b64encode(content).decode()},
        }
        try:
            if self._metadata:
                await self._client.replace(SECRETS.path(self._namespace, self._name), body)
            else:
                await self._client.create(SECRETS.path(self._namespace), body)
        except StatusError as error:
            if error.conflict:
                return False  # another client was quicker
            raise
        return True
