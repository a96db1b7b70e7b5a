"""How often, when and where a failed request is tried again."""

from __future__ import annotations

from envoy.config.route.v3.route_components_pb2 import RetryPolicy
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate
from envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2 import PreviousPrioritiesConfig

from controlplane.envoy.packing import pack
from controlplane.objects.networking.virtual_service import HTTPRetry
from controlplane.translate.common import milliseconds

DEFAULT_ATTEMPTS = 2
DEFAULT_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
_OTHER_HOSTS = 5  # how often another host is looked for


def retry_policy(given: HTTPRetry | None, *, hashed: bool) -> RetryPolicy | None:
    """Return the policy that ``given`` describes, Istio's default where nothing is given, ``None`` where it forbids retries.

    A ``hashed`` request goes to the same host again: that is what it is hashed for.
    """
    if given is None:
        return _policy(DEFAULT_ATTEMPTS, DEFAULT_RETRY_ON, other_hosts=not hashed)
    if given.attempts <= 0:
        return None
    other_hosts = not hashed if given.retry_ignore_previous_hosts is None else given.retry_ignore_previous_hosts
    policy = _policy(given.attempts, given.retry_on or DEFAULT_RETRY_ON, other_hosts=other_hosts)
    if given.per_try_timeout:
        policy.per_try_timeout.CopyFrom(milliseconds(given.per_try_timeout))
    if given.backoff:
        policy.retry_back_off.base_interval.CopyFrom(milliseconds(given.backoff))
    if given.retry_remote_localities:
        policy.retry_priority.name = "envoy.retry_priorities.previous_priorities"
        policy.retry_priority.typed_config.CopyFrom(pack(PreviousPrioritiesConfig(update_frequency=2)))
    return policy


def _policy(attempts: int, retry_on: str, *, other_hosts: bool) -> RetryPolicy:
    tokens = [each.strip() for each in retry_on.split(",") if each.strip()]
    codes = sorted({int(each) for each in tokens if each.isdecimal()})
    conditions = [each for each in tokens if not each.isdecimal()]
    if codes and "retriable-status-codes" not in conditions:
        conditions.append("retriable-status-codes")
    policy = RetryPolicy(num_retries={"value": attempts}, retry_on=",".join(conditions), retriable_status_codes=codes)
    if other_hosts:
        policy.host_selection_retry_max_attempts = _OTHER_HOSTS
        predicate = policy.retry_host_predicate.add(name="envoy.retry_host_predicates.previous_hosts")
        predicate.typed_config.CopyFrom(pack(PreviousHostsPredicate()))
    return policy
