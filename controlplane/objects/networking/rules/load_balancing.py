"""What the load-balancing settings of a DestinationRule must keep to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controlplane.model.hosts import ANY
from controlplane.objects.networking.destination_rule import (
    ConsistentHashLB,
    Distribute,
    Failover,
    LoadBalancerSettings,
    LocalityLoadBalancerSetting,
)
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.names import is_header
from controlplane.objects.types.validation_errors import for_message

MAX_MAGLEV = 5_000_011  # Envoy's limit of a Maglev table, itself a prime
MAX_RING = 8 << 20  # Envoy's limit of a ring


def check_load_balancer(path: str, balancer: LoadBalancerSettings, *, outliers: bool) -> Iterator[Finding]:
    """Yield what is wrong with how an endpoint is chosen; failover works only where ``outliers`` are detected."""
    if balancer.simple is not None and balancer.consistent_hash is not None:
        yield rules.conflict(path, "expected one of simple and consistentHash, found both")
    if balancer.consistent_hash:
        yield from _hash(f"{path}.consistentHash", balancer.consistent_hash)
    if balancer.locality_lb_setting and balancer.zone_aware_lb_setting:
        yield rules.conflict(path, "expected one of localityLbSetting and zoneAwareLbSetting, found both")
    if zones := balancer.zone_aware_lb_setting:
        yield from _failover(f"{path}.zoneAwareLbSetting", zones.failover)
    if localities := balancer.locality_lb_setting:
        yield from _localities(f"{path}.localityLbSetting", localities)
        if (localities.failover or localities.failover_priority) and not outliers:
            message = "has no effect without outlierDetection, which tells which endpoints fail"
            yield rules.warning(f"{path}.localityLbSetting", "NoEffect", message)


def _hash(path: str, policy: ConsistentHashLB) -> Iterator[Finding]:
    keys = (policy.http_header_name, policy.http_cookie, policy.use_source_ip, policy.http_query_parameter_name)
    if sum(key is not None for key in keys) > 1:
        yield rules.conflict(path, "expected one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName")
    if all(key in (None, False) for key in keys):
        yield rules.warning(path, "NoEffect", "has no httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName to hash by")
    if policy.http_header_name is not None and not is_header(policy.http_header_name):
        yield rules.out_of_range(f"{path}.httpHeaderName", "the name of a header", policy.http_header_name)
    if policy.http_query_parameter_name == "":
        yield rules.required(f"{path}.httpQueryParameterName", "a name that is not empty")
    if policy.http_cookie and not policy.http_cookie.name:
        yield rules.required(f"{path}.httpCookie.name", "a name that is not empty")
    yield from _tables(path, policy)


def _tables(path: str, policy: ConsistentHashLB) -> Iterator[Finding]:
    if policy.maglev and policy.ring_hash:
        yield rules.conflict(path, "expected one of ringHash and maglev, found both")
    if policy.maglev and policy.maglev.table_size and not _is_maglev(policy.maglev.table_size):
        yield rules.out_of_range(f"{path}.maglev.tableSize", f"a prime number of at most {MAX_MAGLEV}", policy.maglev.table_size)
    if policy.ring_hash and policy.ring_hash.minimum_ring_size > MAX_RING:
        yield rules.out_of_range(f"{path}.ringHash.minimumRingSize", f"at most {MAX_RING}", policy.ring_hash.minimum_ring_size)
    if policy.minimum_ring_size > MAX_RING:
        yield rules.out_of_range(f"{path}.minimumRingSize", f"at most {MAX_RING}", policy.minimum_ring_size)
    elif policy.minimum_ring_size:
        yield rules.warning(f"{path}.minimumRingSize", "Deprecated", "ringHash.minimumRingSize takes its place")


def _is_maglev(size: int) -> bool:
    return size <= MAX_MAGLEV and size > 1 and all(size % divisor for divisor in range(2, int(size**0.5) + 1))


def _localities(path: str, setting: LocalityLoadBalancerSetting) -> Iterator[Finding]:
    if setting.distribute and (setting.failover or setting.failover_priority):
        yield rules.conflict(path, "expected one of distribute and failover, found both")
    for index, distribute in enumerate(setting.distribute):
        yield from _distribute(f"{path}.distribute[{index}]", distribute)
    yield from _disjoint(f"{path}.distribute", [distribute.from_ for distribute in setting.distribute])
    yield from _failover(path, setting.failover)


def _distribute(path: str, distribute: Distribute) -> Iterator[Finding]:
    for name, weight in distribute.to.items():
        if not 1 <= weight <= 100:
            yield rules.out_of_range(f"{path}.to.{name}", "a share from 1 to 100", weight)
    if (total := sum(distribute.to.values())) != 100:
        yield rules.out_of_range(f"{path}.to", "shares of 100 in all", total)
    yield from _disjoint(f"{path}.to", list(distribute.to))


def _disjoint(path: str, localities: Sequence[str]) -> Iterator[Finding]:
    """Yield what is wrong with ``localities``, as region/zone/sub-zone with perhaps a star at the end: none may be within another."""
    for locality in localities:
        if locality.count("/") > 2 or not all(locality.split("/")) or ANY in locality.removesuffix(ANY):
            yield rules.out_of_range(path, "region/zone/subzone, of which the last may be '*'", locality)
    split = [tuple(filter(None, locality.removesuffix(ANY).split("/"))) for locality in localities]
    first = {parts: index for index, parts in reversed([*enumerate(split)])}
    for index, parts in enumerate(split):
        candidates = (first.get(parts[:length], index) for length in range(len(parts) + 1))
        if (covering := next((candidate for candidate in candidates if candidate != index), index)) != index:
            both = f"{for_message(localities[covering])} and {for_message(localities[index])}"
            yield rules.conflict(path, f"expected localities that do not overlap: {both} do")


def _failover(path: str, failovers: Sequence[Failover]) -> Iterator[Finding]:
    for index, rule in enumerate(failovers):
        failover_path = f"{path}.failover[{index}]"
        if rule.from_ == rule.to:
            yield rules.conflict(failover_path, "expected two different regions")
        for name, region in (("from", rule.from_), ("to", rule.to)):
            if "/" in region or ANY in region:
                yield rules.out_of_range(f"{failover_path}.{name}", "a region, without zone or '*'", region)
