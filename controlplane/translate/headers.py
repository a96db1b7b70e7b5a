"""Operations on headers."""

from __future__ import annotations

from dataclasses import dataclass, field

from envoy.config.core.v3.base_pb2 import HeaderValueOption

from controlplane.objects.networking.virtual_service import HeaderOperations, Headers

_AUTHORITY = ("host", ":authority")


@dataclass(frozen=True, slots=True)
class Operations:
    """What becomes of the headers of requests and of responses; ``authority`` is what the request's is set to."""

    request_add: list[HeaderValueOption] = field(default_factory=list)
    request_remove: list[str] = field(default_factory=list)
    response_add: list[HeaderValueOption] = field(default_factory=list)
    response_remove: list[str] = field(default_factory=list)
    authority: str = ""


def operations(headers: Headers | None) -> Operations:
    """Return what ``headers`` asks for, in a fixed order; an authority that is set is told apart, as Envoy has a field for it."""
    request = headers.request if headers and headers.request else HeaderOperations()
    response = headers.response if headers and headers.response else HeaderOperations()
    authority = next((value for name, value in sorted(request.set.items()) if name.lower() in _AUTHORITY), "")
    return Operations(
        request_add=_options(request),
        request_remove=sorted(request.remove),
        response_add=_options(response),
        response_remove=sorted(response.remove),
        authority=authority,
    )


def _options(given: HeaderOperations) -> list[HeaderValueOption]:
    set_to = [(name, value, HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD) for name, value in sorted(given.set.items())]
    added = [(name, value, HeaderValueOption.APPEND_IF_EXISTS_OR_ADD) for name, value in sorted(given.add.items())]
    return [
        HeaderValueOption(header={"key": name, "value": value}, append_action=action)
        for name, value, action in (*added, *set_to)
        if name.lower() not in _AUTHORITY
    ]
