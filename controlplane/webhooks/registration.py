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

from controlplane.ca.certificates import BadCertificate, CertificateAndKey, expires_at
from controlplane.kube.client import Client
from controlplane.kube.errors import KubernetesError, StatusError
from controlplane.kube.lease import Leadership
from controlplane.kube.resources import MUTATING_WEBHOOKS, SECRETS, VALIDATING_WEBHOOKS
from controlplane.untyped import items, section, text
from controlplane.webhooks.certificate import SECRET_NAME, certificate_from_secret, certificate_secret, renewed_certificate

log = logging.getLogger(__name__)

# What the API server knows of us; each may be missing.
CONFIGURATIONS = (VALIDATING_WEBHOOKS.path(name="navarch-validator"), MUTATING_WEBHOOKS.path(name="navarch-injector"))
_ROUND_S = 2.0


class WebhookRegistration:
    """The webhooks' certificate and configurations, as one replica keeps them."""

    def __init__(self, client: Client, home: str, leader: Leadership, reached: Callable[[], bool]) -> None:
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
                    if self._leader.is_leader and self._authority:
                        await self._configuration(path)
            except (KubernetesError, BadCertificate, OSError) as error:
                log.info("webhook not registered", extra={"reason": str(error)})
            except Exception:  # internal error; the next round begins anew
                log.exception("webhook failed")
            await asyncio.sleep(_ROUND_S)

    async def _certificate(self) -> None:
        """Use the certificate that all replicas share: whoever is first makes it, the leader renews it."""
        path = SECRETS.path(self._home, SECRET_NAME)
        try:
            secret = await self._client.get(path)
        except StatusError as error:
            if not error.not_found:
                raise
            secret = {}
        certificate, now = certificate_from_secret(secret), dt.datetime.now(dt.UTC)
        if certificate is None or (self._leader.is_leader and certificate.is_due(now)):
            certificate = await asyncio.to_thread(renewed_certificate, self._home, secret, now)
            body = certificate_secret(self._home, certificate, secret)
            try:
                if secret:
                    await self._client.replace(path, body)
                else:
                    await self._client.create(SECRETS.path(self._home), body)
            except StatusError as error:
                if error.conflict:
                    return  # another replica was quicker: its certificate is read in the next round
                raise
        if certificate.pair.certificate != self._used:
            await asyncio.to_thread(_load, self.tls, certificate.pair)
            self._used = certificate.pair.certificate
            log.info("webhook certificate in use", extra={"expires": expires_at(certificate.pair.certificate).isoformat()})
        self._authority = certificate.issuer.pem

    async def _configuration(self, path: str) -> None:
        try:
            configuration = await self._client.get(path)
        except StatusError as error:
            if not error.not_found:
                raise
            return  # that webhook is not wanted here
        trusted = base64.b64encode(self._authority).decode()
        policy = "Fail" if self._reached() else ""
        changed = False
        for webhook in items(configuration, "webhooks"):
            config = section(webhook, "clientConfig")
            if text(config, "caBundle") != trusted:
                config["caBundle"] = trusted
                changed = True
            if policy and text(webhook, "failurePolicy") != policy:
                webhook["failurePolicy"] = policy
                changed = True
        if changed and self._leader.is_leader:
            await self._client.replace(path, configuration)
            log.info("webhook configuration repaired", extra={"configuration": path.rpartition("/")[2], "policy": policy or "as it was"})


def _load(context: ssl.SSLContext, pair: CertificateAndKey) -> None:
    """Have new connections to ``context`` see ``pair``. OpenSSL reads files only; the folder is ours alone, and gone at once."""
    with tempfile.TemporaryDirectory(prefix="navarch-") as folder:
        certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        certificate.write_bytes(pair.certificate)
        with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pair.key)
        context.load_cert_chain(certificate, key)
