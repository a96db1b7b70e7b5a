"""AuthorizationPolicy: who may do what.

https://istio.io/latest/docs/reference/config/security/authorization-policy/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from controlplane.model.keys import AUTHORIZATION_POLICY, GroupKind
from controlplane.objects.types.metadata import KubernetesObject
from controlplane.objects.types.scalars import Model, Text, Texts
from controlplane.objects.types.selectors import SinglePolicyAttachment

_Accounts = Annotated[tuple[Annotated[Text, Field(max_length=320)], ...], Field(max_length=16)]


class AuthorizationRulePart(Model):
    """A part of a rule; fields of it that nobody knows are kept in ``model_extra``, as something is asked for by them."""

    model_config = ConfigDict(extra="allow")


class AuthorizationSource(AuthorizationRulePart):
    """Whom a request is from: every field that is given must fit."""

    principals: Texts = ()
    not_principals: Texts = ()
    request_principals: Texts = ()
    not_request_principals: Texts = ()
    namespaces: Texts = ()
    not_namespaces: Texts = ()
    service_accounts: _Accounts = ()
    not_service_accounts: _Accounts = ()
    trust_domains: Texts = ()
    not_trust_domains: Texts = ()
    ip_blocks: Texts = ()
    not_ip_blocks: Texts = ()
    remote_ip_blocks: Texts = ()
    not_remote_ip_blocks: Texts = ()


class AuthorizationFrom(AuthorizationRulePart):
    """One of the sources of a rule."""

    source: AuthorizationSource | None = None


class AuthorizationOperation(AuthorizationRulePart):
    """What a request is for: every field that is given must fit."""

    hosts: Texts = ()
    not_hosts: Texts = ()
    ports: Texts = ()
    not_ports: Texts = ()
    methods: Texts = ()
    not_methods: Texts = ()
    paths: Texts = ()
    not_paths: Texts = ()


class AuthorizationTo(AuthorizationRulePart):
    """One of the operations of a rule."""

    operation: AuthorizationOperation | None = None


class AuthorizationCondition(AuthorizationRulePart):
    """An attribute of a request, and which values of it fit."""

    key: Text
    values: Texts = ()
    not_values: Texts = ()


class AuthorizationRule(AuthorizationRulePart):
    """Requests that fit: one of the sources, one of the operations, and all conditions."""

    from_: Annotated[tuple[AuthorizationFrom, ...], Field(max_length=512)] = Field(default=(), alias="from")
    to: tuple[AuthorizationTo, ...] = ()
    when: tuple[AuthorizationCondition, ...] = ()

    @property
    def is_understood(self) -> bool:
        """Return whether no unknown field, perhaps a mistyped one, is set: it may be a condition."""
        parts = (self, *self.from_, *self.to, *self.when, *(part.source for part in self.from_), *(part.operation for part in self.to))
        return not any(part.model_extra for part in parts if part is not None)


class AuthorizationProvider(Model):
    """The authorizer that is asked, by its name in the mesh's settings."""

    name: Text = ""


class AuthorizationPolicySpec(SinglePolicyAttachment):
    """What becomes of the requests that fit one of the rules."""

    rules: Annotated[tuple[AuthorizationRule, ...], Field(max_length=512)] = ()
    action: Literal["ALLOW", "DENY", "AUDIT", "CUSTOM"] = "ALLOW"
    provider: AuthorizationProvider | None = None


class AuthorizationPolicy(KubernetesObject):
    """Who may do what."""

    group_kind: ClassVar[GroupKind] = AUTHORIZATION_POLICY

    spec: AuthorizationPolicySpec = AuthorizationPolicySpec()
