"""Letting somebody in, or not: the one place where every call of every service passes."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import grpc

from controlplane.model.identity import Identity
from controlplane.serve.doors import Caller, Context, Denied, Door, Undecided

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a stream is over: with which status, and what the peer is told."""

    code: grpc.StatusCode
    details: str = ""


_NOBODY = Ended(grpc.StatusCode.UNAUTHENTICATED, "unauthenticated")


async def let_in(door: Door, context: Context) -> Caller | Ended:
    """Return who came in by ``door``, or how that ends; whatever goes wrong on the way lets nobody in."""
    try:
        found = await door.caller(context)
    except Denied as error:
        log.warning("caller denied", extra={"reason": str(error)})
        return _NOBODY
    except Undecided as error:
        log.warning("caller not known yet", extra={"reason": str(error)})
        return Ended(grpc.StatusCode.UNAVAILABLE, "identities cannot be checked now")
    except Exception:  # ours
        log.exception("authentication failed")
        return _NOBODY
    if not isinstance(found, Caller) or (door.secure and not isinstance(found.who, Identity)):
        log.error("authentication found nobody", extra={"door": type(door).__name__})
        return _NOBODY
    return found
