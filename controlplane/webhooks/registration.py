"""Keeps the webhooks as they should be: the certificate, which all replicas share, and what the API server knows of each."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import logging
import os
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from controlplane.ca.certificates import BadCertificate, CertificateAndKey, expires_at
from controlplane.kube.client import Client
from controlplane.kube.errors import KubernetesError, StatusError
from controlplane.kube.json import items, section, text
from controlplane.kube.resources import MUTATING_WEBHOOKS, SECRETS, VALIDATING_WEBHOOKS
from controlplane.webhooks.certificate import SECRET_NAME, certificate_from_secret, certificate_secret, renewed_certificate

log = logging.getLogger(__name__)

# What the API server knows of us; each may be missing.
CONFIGURATIONS = (VALIDATING_WEBHOOKS.path(name="navarch-validator"), MUTATING_WEBHOOKS.path(name="navarch-injector"))
_LOOK_S = 2.0


class Held(Protocol):
    """A right that may be lost at any time."""

    @property
    def held(self) -> bool:
        """Return whether it is ours now."""


class WebhookRegistration:
    """The webhooks' certificate and configurations, as one replica keeps them."""

    def __init__(self, client: Client, home: str, leader: Held, reached: Callable[[], bool]) -> None:
        """Keep them in the namespace ``home``; what is shared is changed only while ``leader`` is held.

        ``reached`` tells whether the API server has asked us anything yet: before that, its objects must not depend on us.
        """
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._client = client
        self._home = home
        self._leader = leader
        self._reached = reached
        self._used: bytes = b""
        self._authority: bytes = b""

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                await self._certificate()
                for path in CONFIGURATIONS:
                    if self._leader.held and self._authority:
                        await self._configuration(path)
            except (KubernetesError, BadCertificate, OSError) as error:
                log.info("webhook not registered", extra={"reason": str(error)})
            except Exception:  # ours; the next round begins anew
                log.exception("webhook failed")
            await asyncio.sleep(_LOOK_S)

    async def _certificate(self) -> None:
        """Use the certificate that all replicas share: whoever is first makes it, the leader renews it."""
        path = SECRETS.path(self._home, SECRET_NAME)
        try:
            found = await self._client.get(path)
        except StatusError as error:
            if not error.not_found:
                raise
            found = {}
        value, now = certificate_from_secret(found), dt.datetime.now(dt.UTC)
        if value is None or (self._leader.held and value.is_due(now)):
            value = await asyncio.to_thread(renewed_certificate, self._home, found, now)
            body = certificate_secret(self._home, value, found)
            try:
                if found:
                    await self._client.replace(path, body)
                else:
                    await self._client.create(SECRETS.path(self._home), body)
            except StatusError as error:
                if error.conflict:
                    return  # somebody was quicker: theirs is read in the next round
                raise
        if value.pair.certificate != self._used:
            await asyncio.to_thread(_load, self.tls, value.pair)
            self._used = value.pair.certificate
            log.info("webhook certificate in use", extra={"expires": expires_at(value.pair.certificate).isoformat()})
        self._authority = value.issuer.pem

    async def _configuration(self, path: str) -> None:
        try:
            found = await self._client.get(path)
        except StatusError as error:
            if not error.not_found:
                raise
            return  # that webhook is not wanted here
        trusted = base64.b64encode(self._authority).decode()
        policy = "Fail" if self._reached() else ""
        changed = False
        for each in items(found, "webhooks"):
            config = section(each, "clientConfig")
            if text(config, "caBundle") != trusted:
                config["caBundle"] = trusted
                changed = True
            if policy and text(each, "failurePolicy") != policy:
                each["failurePolicy"] = policy
                changed = True
        if changed and self._leader.held:
            await self._client.replace(path, found)
            log.info("webhook configuration repaired", extra={"configuration": path.rpartition("/")[2], "policy": policy or "as it was"})


def _load(context: ssl.SSLContext, pair: CertificateAndKey) -> None:
    """Have new connections to ``context`` see ``pair``. OpenSSL reads files only; the folder is ours alone, and gone at once."""
    with tempfile.TemporaryDirectory(prefix="navarch-") as folder:
        certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        certificate.write_bytes(pair.certificate)
        with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pair.key)
        context.load_cert_chain(certificate, key)
