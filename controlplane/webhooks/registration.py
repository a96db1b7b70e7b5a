"""Keeps the webhooks as they should be: the certificate, which all replicas share, and what the API server knows of each."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import logging
import math
import os
import ssl
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from controlplane.ca.certificates import BadCertificate, CertificateAndKey, expires_at
from controlplane.kube.client import Client
from controlplane.kube.errors import KubernetesError, StatusError
from controlplane.kube.lease import Leadership
from controlplane.kube.resources import SECRETS
from controlplane.telemetry import OngoingFailure
from controlplane.untyped import Json, items, section, text
from controlplane.webhooks.certificate import SECRET_NAME, certificate_from_secret, certificate_secret, renewed_certificate
from controlplane.webhooks.self_review import INJECTOR, VALIDATOR, SelfReviews, WebhookConfiguration

log = logging.getLogger(__name__)

_ROUND_S = 2.0
_REVIEW_S = 5.0  # between two reviews that we ask for; sooner where it is not known yet whether they come back


class WebhookRegistration:
    """The webhooks' certificate and configurations, as one replica keeps them."""

    def __init__(self, client: Client, home: str, leader: Leadership, reviews: SelfReviews) -> None:
        """Keep them in the namespace ``home``; what is shared is changed only while ``leader`` is held.

        Objects depend on us as long as ``reviews`` come back.
        """
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._client = client
        self._home = home
        self._leader = leader
        self._reviews = reviews
        self._reviewed_at = -math.inf
        self._used: CertificateAndKey | None = None
        self._expires_at = dt.datetime.min.replace(tzinfo=dt.UTC)
        self._authority: bytes = b""
        self._failure = OngoingFailure(log, "webhook not registered", "webhook registered again")
        self._trouble = "it has not been read yet"

    def not_ready(self) -> str | None:
        """Return why the webhooks cannot be called here, None where they can."""
        if self._used is None:
            return f"there is no certificate for the webhooks: {self._trouble}"
        return "the certificate of the webhooks has expired" if self._expires_at <= dt.datetime.now(dt.UTC) else None

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                await self._round()
                self._failure.worked()
            except (KubernetesError, BadCertificate, OSError) as error:
                self._trouble = str(error)
                self._failure.failed(str(error), error.kind if isinstance(error, KubernetesError) else None)
            except Exception:  # internal error; the next round begins anew
                log.exception("webhook failed")
            await asyncio.sleep(_ROUND_S)

    async def _round(self) -> None:
        await self._certificate()
        if not self._leader.is_leader or not self._authority:
            self._reviews.forget()
            return
        found = [(each, await self._read(each)) for each in (VALIDATOR, INJECTOR)]
        registered = [(each, configuration) for each, configuration in found if configuration]
        await self._review([each for each, _ in registered])
        for each, configuration in registered:
            await self._repair(each, configuration)

    async def _review(self, registered: Sequence[WebhookConfiguration]) -> None:
        is_undecided = any(self._reviews.reached(each) is None for each in registered)
        if time.monotonic() - self._reviewed_at < _REVIEW_S and not is_undecided:
            return
        self._reviewed_at = time.monotonic()
        for each in registered:
            await self._reviews.ask(each)

    async def _certificate(self) -> None:
        """Use the certificate that all replicas share: whoever is first makes it, the leader renews it."""
        path = SECRETS.path(self._home, SECRET_NAME)
        try:
            secret = await self._client.get(path)
        except StatusError as error:
            if not error.not_found:
                raise
            secret = {}
        now = dt.datetime.now(dt.UTC)
        certificate = certificate_from_secret(self._home, secret, now)
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
        if certificate.pair != self._used:
            await asyncio.to_thread(_load, self.tls, certificate.pair)
            self._used, self._expires_at = certificate.pair, expires_at(certificate.pair.certificate)
            log.info("webhook certificate in use", extra={"expires": self._expires_at.isoformat()})
        self._authority = certificate.issuer.pem

    async def _read(self, configuration: WebhookConfiguration) -> Json | None:
        try:
            return await self._client.get(configuration.path)
        except StatusError as error:
            if not error.not_found:
                raise
            return None  # that webhook is not wanted here

    async def _repair(self, configuration: WebhookConfiguration, document: Json) -> None:
        """Have the API server trust our authority, and depend on us only where it reaches us."""
        trusted = base64.b64encode(self._authority).decode()
        reached = self._reviews.reached(configuration)
        policy = "" if reached is None else "Fail" if reached else "Ignore"
        changed = False
        for webhook in items(document, "webhooks"):
            config = section(webhook, "clientConfig")
            if text(config, "caBundle") != trusted:
                config["caBundle"] = trusted
                changed = True
            if policy and text(webhook, "failurePolicy") != policy:
                webhook["failurePolicy"] = policy
                changed = True
        if changed and self._leader.is_leader:
            await self._client.replace(configuration.path, document)
            log.info("webhook configuration repaired", extra={"configuration": configuration.name, "policy": policy or "as it was"})


def _load(context: ssl.SSLContext, pair: CertificateAndKey) -> None:
    """Have new connections to ``context`` see ``pair``. OpenSSL reads files only; the folder is ours alone, and gone at once."""
    with tempfile.TemporaryDirectory(prefix="navarch-") as folder:
        certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        certificate.write_bytes(pair.certificate)
        with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pair.key)
        context.load_cert_chain(certificate, key)
