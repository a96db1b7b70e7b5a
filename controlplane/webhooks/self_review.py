"""Reviews that we ask for ourselves: whether the API server reaches the webhooks is known when one has come back, and by nothing else.

An object that is not stored (a dry run), with a name that nobody else knows, is given to the API server to create. Whichever replica is
asked about it adds a warning with that name and the path that was called, and the API server hands the warning on with its answer.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from controlplane.kube.errors import StatusError
from controlplane.kube.resources import CONFIG_MAPS, MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS, WORKLOAD_ENTRIES, ApiResource
from controlplane.telemetry import OngoingFailure
from controlplane.untyped import Json, section, text

log = logging.getLogger(__name__)

LABEL = ("navarch.io/self-review", "true")  # of the objects; no others have warnings added
NAME_PREFIX = "navarch-self-review-"
_TOO_MANY = 429
_FAILURES = 2  # in a row, until the webhooks count as not reached


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookConfiguration:
    """A configuration of webhooks at the API server, and an object that it has reviewed at ``webhook_path``."""

    path: str
    webhook_path: str
    reviewed: ApiResource
    content: tuple[str, Json]  # the field that the object has beside its metadata

    @property
    def name(self) -> str:
        """Return the name of the configuration."""
        return self.path.rpartition("/")[2]


# What the API server knows of us; each may be missing. The rights to create such objects are had anyway; that to create pods is not.
VALIDATOR = WebhookConfiguration(
    path=VALIDATING_WEBHOOKS.path(name="navarch-validator"),
    webhook_path="/validate",
    reviewed=WORKLOAD_ENTRIES,
    content=("spec", {"address": "192.0.2.1"}),  # of no network: https://datatracker.ietf.org/doc/html/rfc5737
)
INJECTOR = WebhookConfiguration(
    path=MUTATING_WEBHOOKS.path(name="navarch-injector"), webhook_path="/inject", reviewed=CONFIG_MAPS, content=("data", {})
)


class Creator(Protocol):
    """An API server, as far as objects are created there."""

    async def create_and_hear(self, path: str, body: Json, **query: str) -> tuple[str, ...]:
        """Create ``body`` in the collection at ``path``, and return the warnings; raises KubernetesError."""


def self_review_warning(document: Json, path: str, *, dry_run: bool) -> tuple[str, ...]:
    """Return the warning that tells whoever has asked for the review of ``document`` that it came to ``path``; of other objects none."""
    metadata = section(document, "metadata")
    if not dry_run or text(section(metadata, "labels"), LABEL[0]) != LABEL[1]:
        return ()
    return (_word(text(metadata, "name"), path),)


class SelfReviews:
    """The reviews that one replica asks for, and what has come of them."""

    def __init__(self, client: Creator, namespace: str, nonce: Callable[[], str] = lambda: secrets.token_hex(8)) -> None:
        """Ask ``client`` about objects in ``namespace``, which the webhooks are asked about; their names end with a ``nonce``."""
        self._client = client
        self._namespace = namespace
        self._nonce = nonce
        self._failures: dict[str, int] = {}  # in a row, by configuration
        self._told: dict[str, OngoingFailure] = {}

    async def ask(self, configuration: WebhookConfiguration) -> None:
        """Ask for a review by ``configuration``; raises ApiServerUnreachable, which says nothing about the webhooks."""
        name = NAME_PREFIX + self._nonce()
        reviewed, (field, value) = configuration.reviewed, configuration.content
        metadata = {"name": name, "namespace": self._namespace, "labels": {LABEL[0]: LABEL[1]}}
        body: Json = {"apiVersion": reviewed.api_version, "kind": reviewed.kind, "metadata": metadata, field: value}
        try:
            warnings = await self._client.create_and_hear(reviewed.path(self._namespace), body, dryRun="All")
        except StatusError as error:
            if error.status != _TOO_MANY:  # which is about us all, not about the webhooks
                self._failed(configuration, str(error), error.kind)
            return
        if any(_word(name, configuration.webhook_path) in warning for warning in warnings):
            self._failures[configuration.name] = 0
            self._ongoing(configuration).worked()
        else:
            self._failed(configuration, "it creates objects without asking the webhook", "not asked")

    def reached(self, configuration: WebhookConfiguration) -> bool | None:
        """Return whether the API server reaches us by ``configuration``; None where that is not known yet."""
        failures = self._failures.get(configuration.name)
        if failures is None or 0 < failures < _FAILURES:
            return None
        return failures == 0

    def known(self) -> Mapping[str, bool]:
        """Return whether the API server reaches us by each configuration of which that is known."""
        return {each.name: reached for each in (VALIDATOR, INJECTOR) if (reached := self.reached(each)) is not None}

    def forget(self) -> None:
        """Know nothing any more: others have asked in the meantime."""
        self._failures.clear()

    def _failed(self, configuration: WebhookConfiguration, reason: str, kind: object) -> None:
        self._failures[configuration.name] = self._failures.get(configuration.name, 0) + 1
        if self._failures[configuration.name] >= _FAILURES:
            self._ongoing(configuration).failed(reason, kind)

    def _ongoing(self, configuration: WebhookConfiguration) -> OngoingFailure:
        said = ("the API server does not reach the webhook: nothing depends on it", "the API server reaches the webhook")
        return self._told.setdefault(configuration.name, OngoingFailure(log, *said, configuration=configuration.name))


def _word(name: str, path: str) -> str:
    return f"{name} reviewed at {path}"
