"""Events of objects that are refused: each once a generation and reason, whoever leads."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Mapping
from typing import Protocol

from controlplane.kube.client import Client
from controlplane.kube.errors import KubernetesError, StatusError
from controlplane.kube.resources import EVENTS, ApiResource
from controlplane.model.keys import Key
from controlplane.telemetry import OngoingFailure
from controlplane.untyped import Json

log = logging.getLogger(__name__)

_WITH_EVENTS = ("Accepted", "Programmed")  # conditions of which Events tell; those of others need not have a reason
# Reasons that are no news, or were told by another condition.
_WITHOUT_EVENTS = ("Pending", "NotTranslated", "NotAccepted", "LastGood", "NotInEffect")
_MAX_REMEMBERED = 10_000


class Regarded(Protocol):
    """An object that Events are about."""

    @property
    def key(self) -> Key:
        """Return its name."""

    @property
    def resource(self) -> ApiResource:
        """Return where it is."""

    @property
    def uid(self) -> str:
        """Return its identity."""

    @property
    def generation(self) -> int:
        """Return the number of its content."""


class EventWriter:
    """The Events of one replica, ``pod``."""

    def __init__(self, client: Client, pod: str) -> None:
        """Write by ``client``."""
        self._client = client
        self._pod = pod
        self._told: set[tuple[str, int, str]] = set()
        self._failure = OngoingFailure(log, "event not written", "events are written again")

    async def tell(self, record: Regarded, conditions: Iterable[Mapping[str, object]]) -> None:
        """Tell what the ``conditions`` of the object of ``record`` say that is wrong."""
        for condition in conditions:
            if condition["type"] in _WITH_EVENTS and condition["status"] == "False" and condition["reason"] not in _WITHOUT_EVENTS:
                await self._event(record, str(condition["reason"]), str(condition["message"]))

    async def _event(self, record: Regarded, reason: str, message: str) -> None:
        which = (record.uid, record.generation, reason)
        if which in self._told:
            return
        if len(self._told) > _MAX_REMEMBERED:
            self._told.clear()
        self._told.add(which)
        key = record.key
        regarding = {
            "apiVersion": record.resource.api_version,
            "kind": key.kind,
            "namespace": key.namespace,
            "name": key.name,
            "uid": record.uid,
        }
        body: Json = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": f"{key.name[:200]}.{record.uid[:8]}.{record.generation}.{reason.lower()}", "namespace": key.namespace},
            "eventTime": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": "navarch.io/navarch",
            "reportingInstance": self._pod[:128],
            "type": "Warning",
            "reason": reason,
            "action": "Accept" if reason != "Refused" else "Program",
            "note": message[:1000],
            "regarding": regarding,
        }
        try:
            await self._client.create(EVENTS.path(key.namespace), body)
        except KubernetesError as error:
            if not (isinstance(error, StatusError) and error.conflict):  # told before, by us or by a leader before us
                self._failure.failed(str(error), error.kind, object=str(key))
                return
        self._failure.worked()
