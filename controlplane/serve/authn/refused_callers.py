"""Who was not let in: counted by reason, the latest of them kept to be looked at, and told to the log now and then."""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

log = logging.getLogger(__name__)

_MAX_KEPT = 200
_MAX_TEXT = 300  # characters of what a caller may have chosen
_AGAIN_S = 60.0  # between two lines about one caller
_LINES = 20  # about all callers, in that time: more are only counted


class AuthenticationFailure(StrEnum):
    """Why a caller is refused, as metrics name it."""

    NO_TOKEN = "no_token"  # noqa: S105
    TOKEN = "token"  # noqa: S105
    CERTIFICATE = "certificate"
    TRUST_DOMAIN = "trust_domain"
    UNDECIDED = "undecided"  # it cannot be checked now
    FAULT = "fault"  # an internal error
    NODE = "node"  # its node names another identity
    BAD_NODE = "bad_node"  # its node is not what proxies send


_EVENTS = {
    AuthenticationFailure.NODE: "node refused",
    AuthenticationFailure.BAD_NODE: "node refused",
    AuthenticationFailure.UNDECIDED: "caller not known yet",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedCaller:
    """A caller that was not let in: from where, why, what it called itself, and as whom it was known; times are since the epoch."""

    address: str
    failure: AuthenticationFailure
    reason: str
    node: str = ""
    identity: str = ""
    times: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    logged_at: float | None = None


class RefusedCallers:
    """The callers that were not let in, at all addresses together."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Begin with none; ``clock`` gives seconds since the epoch."""
        self.counts = Counter[AuthenticationFailure]()
        self._clock = clock
        self._latest: OrderedDict[tuple[str, AuthenticationFailure, str], RefusedCaller] = OrderedDict()  # the last that came is last
        self._lines = 0
        self._lines_since = 0.0

    def note(self, refused: RefusedCaller) -> None:
        """Take note that ``refused`` was not let in, now."""
        now = self._clock()
        self.counts[refused.failure] += 1
        refused = replace(refused, reason=refused.reason[:_MAX_TEXT], node=refused.node[:_MAX_TEXT], identity=refused.identity[:_MAX_TEXT])
        key = (refused.address, refused.failure, refused.node)
        before = self._latest.pop(key, replace(refused, first_at=now))
        times, last_logged = before.times + 1, before.logged_at
        if last_logged is None or now - last_logged >= _AGAIN_S:
            last_logged = now
            self._tell(refused, times, now)
        self._latest[key] = replace(refused, times=times, first_at=before.first_at, last_at=now, logged_at=last_logged)
        if len(self._latest) > _MAX_KEPT:
            self._latest.popitem(last=False)

    def counts_by_name(self) -> Mapping[str, int]:
        """Return how many callers were refused, by the reason."""
        return {failure.value: self.counts[failure] for failure in AuthenticationFailure}

    def latest(self) -> tuple[RefusedCaller, ...]:
        """Return those that came last, the latest first."""
        return tuple(reversed(self._latest.values()))

    def _tell(self, refused: RefusedCaller, times: int, now: float) -> None:
        if now - self._lines_since >= _AGAIN_S:
            self._lines, self._lines_since = 0, now
        self._lines += 1
        if self._lines > _LINES:
            if self._lines == _LINES + 1:
                log.warning("more callers are refused than are told here", extra={"for_s": _AGAIN_S})
            return
        facts = {"address": refused.address, "reason": refused.reason, "node": refused.node, "identity": refused.identity}
        log.warning(
            _EVENTS.get(refused.failure, "caller denied"), extra={**{name: fact for name, fact in facts.items() if fact}, "times": times}
        )
