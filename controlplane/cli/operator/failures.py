"""Why a command cannot do what it was asked for, and the exit statuses of all commands for operators.

0: it was done. 1: it was done, and what was looked at is not as it should be. 2: it cannot be asked for like this, or what it was asked
about is not there. 3: no control plane answers.
"""

from __future__ import annotations

from controlplane.errors import UserError

WANTING = 1
MISTAKEN = 2
UNREACHABLE = 3


class CommandFailed(UserError):
    """A sentence for the operator, and the exit status of the command."""

    def __init__(self, message: str, status: int = MISTAKEN) -> None:
        """End the command with ``status``, after ``message`` was printed."""
        super().__init__(message)
        self.status = status
