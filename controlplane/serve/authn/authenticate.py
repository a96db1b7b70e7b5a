"""Authenticates callers: the one place where every call of every service passes."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar
from urllib.parse import unquote

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from controlplane.model.identity import Identity
from controlplane.serve.authn.authenticators import (
    AuthenticationUnavailable,
    Authenticator,
    CallContext,
    Caller,
    Unauthenticated,
)
from controlplane.serve.authn.refused_callers import AuthenticationFailure, RefusedCaller

log = logging.getLogger(__name__)

FIRST_REQUEST_S = 30.0
Request = TypeVar("Request")
Request_co = TypeVar("Request_co", covariant=True)


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a stream ends: the status and the details that the peer gets."""

    code: grpc.StatusCode
    details: str = ""


UNREADABLE = StreamEnd(grpc.StatusCode.INVALID_ARGUMENT, "expected a request of this service, found bytes that are none")
_FAULT = "a fault of the control plane; it is logged there"
INTERNAL_ERROR = StreamEnd(grpc.StatusCode.INTERNAL, _FAULT)
NO_MEMORY = StreamEnd(grpc.StatusCode.RESOURCE_EXHAUSTED, "this control plane has no memory left for what is asked")
_UNAUTHENTICATED = StreamEnd(grpc.StatusCode.UNAUTHENTICATED, "unauthenticated")


async def authenticate(authenticator: Authenticator, context: CallContext) -> Caller | StreamEnd:
    """Return the caller by ``authenticator``, or how its call ends; whatever goes wrong on the way, nobody is admitted.

    A connection that calls very often waits.
    """
    peer = context.peer()
    await authenticator.call_rate.wait(peer)
    try:
        caller = await authenticator.caller(context)
    except Unauthenticated as error:
        authenticator.refused.note(RefusedCaller(address=peer_host(peer), failure=error.refusal, reason=str(error)))
        return _UNAUTHENTICATED
    except AuthenticationUnavailable as error:
        authenticator.refused.note(RefusedCaller(address=peer_host(peer), failure=AuthenticationFailure.UNDECIDED, reason=str(error)))
        return StreamEnd(grpc.StatusCode.UNAVAILABLE, "identities cannot be checked now")
    except Exception:  # an internal error
        authenticator.refused.note(RefusedCaller(address=peer_host(peer), failure=AuthenticationFailure.FAULT, reason=_FAULT))
        log.exception("authentication failed")
        return _UNAUTHENTICATED
    if not isinstance(caller, Caller) or (authenticator.secure and not isinstance(caller.who, Identity)):
        authenticator.refused.note(RefusedCaller(address=peer_host(peer), failure=AuthenticationFailure.FAULT, reason=_FAULT))
        log.error("authentication found nobody", extra={"authenticator": type(authenticator).__name__})
        return _UNAUTHENTICATED
    return replace(caller, until=authenticator.age.ends_at(peer)) if authenticator.age else caller


def peer_host(peer: str) -> str:
    """Return the address in ``peer``, which gRPC writes as ``ipv4:10.0.0.7:41202`` or ``ipv6:%5B::1%5D:41202``."""
    return unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]") or peer


class RequestSource(Protocol[Request_co]):
    """What requests are read from: gRPC's context of a call, or what decodes its bytes."""

    async def read(self) -> Request_co:
        """Return the next request; where none comes any more, gRPC's ``EOF`` in its place."""


async def first_request(source: RequestSource[Request]) -> Request | StreamEnd:
    """Return the first request that ``source`` has, or how the stream ends without one."""
    try:
        async with asyncio.timeout(FIRST_REQUEST_S):
            request = await source.read()
    except TimeoutError:
        return StreamEnd(grpc.StatusCode.DEADLINE_EXCEEDED, f"no request came for {FIRST_REQUEST_S:.0f} s")
    except DecodeError:
        return UNREADABLE
    except grpc.aio.BaseError:
        return StreamEnd(grpc.StatusCode.OK)  # the peer has disconnected
    return StreamEnd(grpc.StatusCode.OK) if request is grpc.aio.EOF else request
