"""What the API server refuses, and what keeps it from answering."""

from __future__ import annotations

from controlplane.errors import PlatformError


class KubernetesError(PlatformError):
    """Something between us and the API server went wrong."""

    @property
    def kind(self) -> object:
        """Return what errors have in common that differ in details only."""
        return type(self)


class NoAccess(KubernetesError):
    """There is no way to the API server: no kubeconfig that can be read, and no service account of a pod."""


class ApiServerUnreachable(KubernetesError):
    """The API server gives no answer, or broke off in the middle of one."""


class StatusError(KubernetesError):
    """The API server answered with a Status that is no success."""

    def __init__(self, status: int, reason: str, message: str, retry_after_s: float | None = None) -> None:
        """Take what the Status says: the HTTP ``status``, the ``reason`` in one word, the ``message``."""
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s

    @property
    def kind(self) -> object:
        """Return the status: the message may name what differs each time."""
        return self.status

    @property
    def not_found(self) -> bool:
        """Return whether what was asked for is not there."""
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """Return whether another client was quicker: another resourceVersion, or a name that exists."""
        return self.status == 409

    @property
    def expired(self) -> bool:
        """Return whether the resourceVersion that was named is too old to go on from."""
        return self.status == 410
