"""ProxyConfigs that are for the same proxies, of which one counts, and those that are for none."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.incremental.database import Database
from controlplane.mesh.facets import namespaces_with
from controlplane.mesh.inputs import index
from controlplane.mesh.problems.precedence import why_first
from controlplane.mesh.registry.endpoints import selected_workloads
from controlplane.mesh.registry.proxy_configs import proxy_configs_of
from controlplane.model.keys import POD, Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.networking.proxy_config import ProxyConfig


def proxy_config_problems(db: Database, config: ProxyConfig) -> Iterator[Problem]:
    """Yield what is wrong between ``config`` and others: one of each namespace, and one of each workload, is all that Istio allows."""
    pods = _pods(db, config)
    if config.spec.selector and index(db, namespaces_with(POD)) and not pods:
        message = "no pod of its namespace has these labels: it is for no proxy"
        yield Problem(config.key, "spec.selector", Severity.WARNING, "NoWorkload", message)
    for older in proxy_configs_of(db, config.key.namespace):
        if older.key == config.key:
            break
        if _fields_of(older) & _fields_of(config) and _overlap(db, older, config, pods):
            fields = ", ".join(sorted(_fields_of(older) & _fields_of(config)))
            reason = why_first(older.meta.created, config.meta.created)
            message = f"{older.key}, {reason}, is for the same proxies: there its {fields} count"
            yield Problem(config.key, "spec.selector", Severity.WARNING, "Conflict", message)
            return


def _overlap(db: Database, older: ProxyConfig, config: ProxyConfig, pods: frozenset[Key]) -> bool:
    if older.spec.selector is None or config.spec.selector is None:
        return older.spec.selector is config.spec.selector
    return older.spec.selector == config.spec.selector or not pods.isdisjoint(_pods(db, older))


def _pods(db: Database, config: ProxyConfig) -> frozenset[Key]:
    selector = config.spec.selector
    return frozenset(selected_workloads(db, POD, config.key.namespace, selector.match_labels)) if selector else frozenset()


def _fields_of(config: ProxyConfig) -> frozenset[str]:
    """Return which fields ``config`` gives; of variables each by itself."""
    variables = (f"environmentVariables.{name}" for name in config.spec.environment_variables)
    fields = (("concurrency", config.spec.concurrency), ("image", config.spec.image))
    return frozenset((*variables, *(name for name, value in fields if value is not None)))
