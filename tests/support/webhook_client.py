"""A webhook that listens, and somebody who asks it as an API server does."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import ssl

from tests.support.cluster import Cluster
from tests.support.control_plane import Running
from tests.support.waiting import DEADLINE_S, until

ANYWHERE = "127.0.0.1:0"
VALIDATORS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


def configuration(port: int | str) -> dict[str, object]:
    """Return a configuration of the validating webhook that the API server is to call at ``port`` of this machine."""
    rule = {"apiGroups": ["networking.istio.io"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["*"]}
    hook = {
        "name": "validator.navarch-system.svc",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": f"https://localhost:{port}/validate"},
        "failurePolicy": "Ignore",
        "sideEffects": "None",
        "rules": [rule],
    }
    metadata = {"name": "navarch-validator"}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": metadata,
        "webhooks": [hook],
    }


class Asker:
    """Asks the webhook of ``running`` as an API server would, trusting what it is told to trust."""

    def __init__(self, cluster: Cluster, running: Running) -> None:
        self._cluster = cluster
        host = running.at.webhook
        assert host
        self._port = int(host.rpartition(":")[2])

    def trust(self) -> ssl.SSLContext:
        secret = self._cluster.call("GET", "/api/v1/namespaces/navarch-system/secrets/navarch-webhook-cert")["data"]
        assert isinstance(secret, dict)
        return ssl.create_default_context(cadata=base64.b64decode(secret["ca.crt"]).decode())

    def __call__(self, body: bytes, method: str = "POST", path: str = "/validate", kind: str = "application/json") -> tuple[int, object]:
        connection = http.client.HTTPSConnection("localhost", self._port, timeout=DEADLINE_S, context=self.trust())
        try:
            connection.request(method, path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


async def listening(cluster: Cluster) -> None:
    """Wait until the certificate is there."""

    async def there() -> bool:
        found = await asyncio.to_thread(cluster.kubectl, "-n", "navarch-system", "get", "secret", "navarch-webhook-cert", check=False)
        return "NotFound" not in found

    await until(there)
