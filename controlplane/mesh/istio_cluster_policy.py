"""From the traffic policies of DestinationRules to values of our own.

https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from controlplane.ir.actions import AddressHash, CookieHash, HashKey, HeaderHash, QueryHash
from controlplane.objects.networking.destination_rule import ConsistentHashLB


def hash_key(policy: ConsistentHashLB) -> HashKey:
    """Return what requests are hashed by as ``policy`` says; where it says nothing, by the client's address."""
    if policy.http_header_name:
        return HeaderHash(policy.http_header_name)
    if cookie := policy.http_cookie:
        return CookieHash(cookie.name, cookie.path, cookie.ttl, tuple((each.name, each.value) for each in cookie.attributes))
    if policy.http_query_parameter_name:
        return QueryHash(policy.http_query_parameter_name)
    return AddressHash()
