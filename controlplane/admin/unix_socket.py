"""A socket of this machine's file system: whoever may write to the file may ask there, and nobody else comes near."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

SCHEME = "unix:"
_OWNER_ALONE = 0o177  # what is taken from the rights of the file


def listen_at(path: str, backlog: int) -> socket.socket:
    """Return a socket that listens at ``path``, for this user alone; one that a process before has left there is replaced.

    Raises OSError where somebody listens there, or something else stands there.
    """
    if Path(path).is_socket() and not _is_served(path):
        Path(path).unlink()
    listening = socket.socket(socket.AF_UNIX)
    before = os.umask(_OWNER_ALONE)
    try:
        listening.bind(path)
        listening.listen(backlog)
    except OSError:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as trial:
        try:
            trial.connect(path)
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
        return True
