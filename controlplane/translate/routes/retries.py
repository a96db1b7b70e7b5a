"""How often, when and where a failed request is tried again."""

from __future__ import annotations

from envoy.config.route.v3.route_components_pb2 import RetryPolicy
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate
from envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2 import PreviousPrioritiesConfig

from controlplane.envoy.packing import pack
from controlplane.ir.actions import Retry
from controlplane.translate.addresses import milliseconds

_OTHER_HOSTS = 5  # how often another host is looked for


def retry_policy(retry: Retry) -> RetryPolicy:
    """Return the policy of ``retry``."""
    policy = RetryPolicy(num_retries={"value": retry.attempts}, retry_on=",".join(retry.conditions), retriable_status_codes=retry.codes)
    if retry.other_hosts:
        policy.host_selection_retry_max_attempts = _OTHER_HOSTS
        predicate = policy.retry_host_predicate.add(name="envoy.retry_host_predicates.previous_hosts")
        predicate.typed_config.CopyFrom(pack(PreviousHostsPredicate()))
    if retry.per_try_timeout_ms:
        policy.per_try_timeout.CopyFrom(milliseconds(retry.per_try_timeout_ms))
    if retry.backoff_ms:
        policy.retry_back_off.base_interval.CopyFrom(milliseconds(retry.backoff_ms))
    if retry.other_localities:
        policy.retry_priority.name = "envoy.retry_priorities.previous_priorities"
        policy.retry_priority.typed_config.CopyFrom(pack(PreviousPrioritiesConfig(update_frequency=2)))
    return policy
