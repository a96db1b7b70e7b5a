"""Which endpoints of a cluster a route's metadata chooses.

A cluster has a subset for each set of values of each selector's keys. Criteria choose the one whose keys are exactly theirs; where there is
none, or nobody is in it, the fallback policy decides: nobody, anybody, or the default subset.
https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/subsets
"""

from __future__ import annotations

from collections.abc import Mapping

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import Metadata
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from google.protobuf.struct_pb2 import Struct, Value

LOAD_BALANCER = "envoy.lb"
_Policies = Cluster.LbSubsetConfig
_Selector = Cluster.LbSubsetConfig.LbSubsetSelector


def subset(cluster: Cluster, assignment: ClusterLoadAssignment, criteria: Metadata) -> tuple[list[LbEndpoint], str]:
    """Return the endpoints of ``assignment`` that ``criteria`` choose in ``cluster``, and why; all where it has no subsets."""
    everybody = [endpoint for locality in assignment.endpoints for endpoint in locality.lb_endpoints]
    config = cluster.lb_subset_config
    if not config.subset_selectors:
        return everybody, ""
    return _chosen(
        config, everybody, dict(criteria.filter_metadata[LOAD_BALANCER].fields) if LOAD_BALANCER in criteria.filter_metadata else {}
    )


def merged_criteria(general: Metadata, own: Metadata) -> Metadata:
    """Return what is asked of endpoints by ``general``, and by ``own``, which has the last word on each key."""
    merged = Metadata()
    merged.CopyFrom(general)
    for key, value in own.filter_metadata[LOAD_BALANCER].fields.items() if LOAD_BALANCER in own.filter_metadata else ():
        merged.filter_metadata[LOAD_BALANCER].fields[key].CopyFrom(value)
    return merged


def _chosen(config: _Policies, everybody: list[LbEndpoint], wanted: Mapping[str, Value]) -> tuple[list[LbEndpoint], str]:
    selector = next((each for each in config.subset_selectors if wanted and set(each.keys) == set(wanted)), None)
    if selector is not None:
        found = [endpoint for endpoint in everybody if _has(endpoint, wanted, list_as_any=config.list_as_any)]
        if found:
            return found[:1] if selector.single_host_per_subset else found, f"those with {_written(wanted)}"
        if selector.fallback_policy != _Selector.NOT_DEFINED:
            return _by_selector(config, selector, everybody, wanted)
    says = f"no endpoint has {_written(wanted)}" if selector else f"no subset is kept by {', '.join(sorted(wanted)) or 'nothing'}"
    match config.fallback_policy:
        case _Policies.ANY_ENDPOINT:
            return everybody, f"{says}, so any may get it"
        case _Policies.DEFAULT_SUBSET:
            return _default(config, everybody), f"{says}, so the default subset gets it"
        case _:
            return [], f"{says}, and there is no fallback"


def _by_selector(
    config: _Policies, selector: _Selector, everybody: list[LbEndpoint], wanted: Mapping[str, Value]
) -> tuple[list[LbEndpoint], str]:
    match selector.fallback_policy:
        case _Selector.ANY_ENDPOINT:
            return everybody, f"no endpoint has {_written(wanted)}, so any may get it"
        case _Selector.DEFAULT_SUBSET:
            return _default(config, everybody), f"no endpoint has {_written(wanted)}, so the default subset gets it"
        case _Selector.KEYS_SUBSET:
            return _chosen(config, everybody, {key: value for key, value in wanted.items() if key in selector.fallback_keys_subset})
        case _:
            return [], f"no endpoint has {_written(wanted)}, and there is no fallback"


def _default(config: _Policies, everybody: list[LbEndpoint]) -> list[LbEndpoint]:
    return [endpoint for endpoint in everybody if _has(endpoint, dict(config.default_subset.fields), list_as_any=config.list_as_any)]


def _has(endpoint: LbEndpoint, wanted: Mapping[str, Value], *, list_as_any: bool) -> bool:
    own = endpoint.metadata.filter_metadata[LOAD_BALANCER] if LOAD_BALANCER in endpoint.metadata.filter_metadata else Struct()
    return all(key in own.fields and _equals(own.fields[key], value, list_as_any=list_as_any) for key, value in wanted.items())


def _equals(own: Value, wanted: Value, *, list_as_any: bool) -> bool:
    if list_as_any and own.WhichOneof("kind") == "list_value":
        return any(value == wanted for value in own.list_value.values)
    return own == wanted


def _written(wanted: Mapping[str, Value]) -> str:
    return ", ".join(f"{key}={value.string_value or str(value).strip()}" for key, value in sorted(wanted.items()))
