"""Conditions on what a verified token says: the filter that verifies tokens leaves their payload in the request's metadata."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from envoy.config.rbac.v3.rbac_pb2 import Principal
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.matcher.v3.value_pb2 import ValueMatcher

from controlplane.translate.rbac.text import ANY, matcher

VERIFIER = "envoy.filters.http.jwt_authn"
PAYLOAD = "payload"  # the key of its metadata under which the payload is found


def claim_matcher(path: Sequence[str], value: str) -> MetadataMatcher:
    """Return that the claim at ``path`` is a text that fits ``value``, or a list with such a text in it."""
    return claim_at(path, ValueMatcher(present_match=True) if value == ANY else text_or_list(matcher(value)))


def text_or_list(wanted: StringMatcher) -> ValueMatcher:
    """Return that a claim is a text that fits ``wanted``, or a list with such a text in it."""
    text = ValueMatcher(string_match=wanted)
    return ValueMatcher(or_match={"value_matchers": [text, ValueMatcher(list_match={"one_of": text})]})


def claim_at(path: Sequence[str], value: ValueMatcher) -> MetadataMatcher:
    """Return that the claim at ``path`` fits ``value``."""
    return MetadataMatcher(filter=VERIFIER, path=[{"key": segment} for segment in (PAYLOAD, *path)], value=value)


def claim(path: Sequence[str], value: str) -> Principal:
    """Return that the claim at ``path`` of the request's token fits ``value``."""
    return Principal(sourced_metadata={"metadata_matcher": claim_matcher(path, value)})


def request_principal(value: str) -> Principal:
    """Return that the token is of the principal ``value``, written ``ISSUER/SUBJECT``.

    Both parts may have slashes in them, so each place where ``value`` can be divided is one way to fit it.
    """
    ways = dict.fromkeys(_divided(value))
    if value.startswith(ANY):
        ways[ANY, value] = None
    elif value.endswith(ANY):
        ways[value, ANY] = None
    if not ways:
        return Principal(not_id={"any": True})  # without a slash it is nobody's
    return Principal(
        or_ids={"ids": [Principal(and_ids={"ids": [_text("iss", issuer), _text("sub", subject)]}) for issuer, subject in ways]}
    )


def _divided(value: str) -> Iterator[tuple[str, str]]:
    for index, character in enumerate(value):
        issuer, subject = value[:index], value[index + 1 :]
        if character == "/" and issuer and subject and not issuer.endswith((":", ":/")):  # not within the "://" of an issuer's URL
            yield issuer, subject


def _text(name: str, value: str) -> Principal:
    matched = claim_at([name], ValueMatcher(string_match=matcher(value)))
    return Principal(sourced_metadata={"metadata_matcher": matched})
