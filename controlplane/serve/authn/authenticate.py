"""Letting somebody in, or not: the one place where every call of every service passes."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc.aio import ServicerContext

from controlplane.model.identity import Identity
from controlplane.serve.authn.authenticators import Caller, Context, Denied, Door, Refusal, Undecided

log = logging.getLogger(__name__)

FIRST_REQUEST_S = 30.0
Request = TypeVar("Request")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a stream is over: with which status, and what the peer is told."""

    code: grpc.StatusCode
    details: str = ""


UNREADABLE = Ended(grpc.StatusCode.INVALID_ARGUMENT, "expected a request of this service, found bytes that are none")
FAULT = Ended(grpc.StatusCode.INTERNAL, "a fault of the control plane; it is logged there")
_NOBODY = Ended(grpc.StatusCode.UNAUTHENTICATED, "unauthenticated")


async def let_in(door: Door, context: Context) -> Caller | Ended:
    """Return who came in by ``door``, or how that ends; whatever goes wrong on the way lets nobody in."""
    try:
        found = await door.caller(context)
    except Denied as error:
        door.refused[error.refusal] += 1
        log.warning("caller denied", extra={"reason": str(error)})
        return _NOBODY
    except Undecided as error:
        door.refused[Refusal.UNDECIDED] += 1
        log.warning("caller not known yet", extra={"reason": str(error)})
        return Ended(grpc.StatusCode.UNAVAILABLE, "identities cannot be checked now")
    except Exception:  # ours
        door.refused[Refusal.FAULT] += 1
        log.exception("authentication failed")
        return _NOBODY
    if not isinstance(found, Caller) or (door.secure and not isinstance(found.who, Identity)):
        door.refused[Refusal.FAULT] += 1
        log.error("authentication found nobody", extra={"door": type(door).__name__})
        return _NOBODY
    return found


async def first_request(context: ServicerContext[Request, bytes]) -> Request | Ended:
    """Return the first request on ``context``, or how that ends."""
    try:
        async with asyncio.timeout(FIRST_REQUEST_S):
            request = await context.read()
    except TimeoutError:
        return Ended(grpc.StatusCode.DEADLINE_EXCEEDED, f"no request came for {FIRST_REQUEST_S:.0f} s")
    except DecodeError:
        return UNREADABLE
    except grpc.aio.BaseError:
        return Ended(grpc.StatusCode.OK)  # the peer is gone
    return Ended(grpc.StatusCode.OK) if request is grpc.aio.EOF else request
