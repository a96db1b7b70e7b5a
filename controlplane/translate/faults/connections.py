"""Faults in connections: they are closed, or taken and never answered, at their first bytes.

https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/rbac_filter
"""

from __future__ import annotations

from envoy.config.rbac.v3.rbac_pb2 import RBAC as RULES
from envoy.config.rbac.v3.rbac_pb2 import Permission, Policy, Principal
from envoy.extensions.filters.network.rbac.v3.rbac_pb2 import RBAC

from controlplane.model.faults.faults import DrillFault
from controlplane.model.faults.kinds import SwallowRequests
from controlplane.translate.addresses import milliseconds
from controlplane.translate.faults.callers import CallerUri

_STATISTICS = "drill."


def connection_filter(fault: DrillFault, callers: tuple[CallerUri, ...] | None) -> RBAC:
    """Return the filter that makes ``fault`` in connections of ``callers``, ``None`` all."""
    principals = [Principal(any=True)] if callers is None else [_principal(caller) for caller in callers]
    rules = RULES(action=RULES.DENY, policies={"drill": Policy(permissions=[Permission(any=True)], principals=principals)})
    message = RBAC(stat_prefix=_STATISTICS, rules=rules)
    if isinstance(fault.kind, SwallowRequests):
        message.delay_deny.CopyFrom(milliseconds(fault.kind.hold_ms))
    return message


def _principal(caller: CallerUri) -> Principal:
    text = {"prefix": caller.text} if caller.prefix else {"exact": caller.text}
    return Principal(authenticated={"principal_name": text})
