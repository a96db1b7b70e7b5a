"""RequestAuthentication: whose tokens are believed, and where they are found in a request.

https://istio.io/latest/docs/reference/config/security/request_authentication/
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from controlplane.model.keys import REQUEST_AUTHENTICATION, GroupKind
from controlplane.objects.security.jwks import DISCOVERY, KeySet, UnusableKeys, public_keys
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import Bool, Duration, Model, Text
from controlplane.objects.types.selectors import Name, Names, SinglePolicyAttachment

_Url = Annotated[Text, Field(min_length=1, max_length=2048)]


class JWTHeader(Model):
    """A header that may hold a token, after ``prefix``."""

    name: Name
    prefix: Text = ""


class ClaimToHeader(Model):
    """A claim of the token that goes on in a header."""

    header: Annotated[Text, Field(min_length=1, pattern=r"^[-_A-Za-z0-9]+$")]
    claim: Name


class JWTRule(Model):
    """An issuer, its keys, and where its tokens are found."""

    issuer: Text = ""
    audiences: Names = ()
    jwks_uri: _Url | None = None
    deprecated_jwks_uri: _Url | None = Field(default=None, alias="jwks_uri")
    jwks: Text | None = None
    from_headers: tuple[JWTHeader, ...] = ()
    from_params: Names = ()
    from_cookies: Names = ()
    output_payload_to_header: Text = ""
    forward_original_token: Bool = False
    output_claim_to_headers: tuple[ClaimToHeader, ...] = ()
    timeout: Duration | None = None
    space_delimited_claims: Annotated[Names, Field(max_length=64)] = ()

    @property
    def jwks_url(self) -> str | None:
        """Return where the keys are published; by default in the issuer's discovery document. ``None``: they are inline."""
        if self.jwks is not None:
            return None
        return self.jwks_uri or self.deprecated_jwks_uri or f"{self.issuer.rstrip('/')}{DISCOVERY}"

    def inline_keys(self) -> KeySet:
        """Return the inline keys, if any, and why they cannot be used, if they cannot."""
        try:
            return KeySet(None if self.jwks is None else public_keys(self.jwks))
        except UnusableKeys as error:
            return KeySet(failure=str(error))


class RequestAuthenticationSpec(SinglePolicyAttachment):
    """The issuers that some workloads believe."""

    jwt_rules: Annotated[tuple[JWTRule, ...], Field(max_length=4096)] = ()


class RequestAuthentication(KubernetesObject):
    """Whose tokens are believed."""

    group_kind: ClassVar[GroupKind] = REQUEST_AUTHENTICATION

    spec: RequestAuthenticationSpec = RequestAuthenticationSpec()
