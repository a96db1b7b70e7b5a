"""What ProxyConfigs must keep to.

https://istio.io/latest/docs/reference/config/networking/proxy-config/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controlplane.objects.networking.proxy_config import AGENT_VARIABLES, ProxyConfig
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.selector_rules import check_selector


def check(proxy_config: ProxyConfig) -> Iterator[Finding]:
    """Yield what is wrong with ``proxy_config``."""
    yield from check_selector(proxy_config.spec.selector)
    yield from agent_variables(proxy_config.spec.environment_variables, "spec.environmentVariables")


def agent_variables(variables: Mapping[str, str], path: str) -> Iterator[Finding]:
    """Yield which of ``variables``, written at ``path``, are for Istio's agent: a pod's proxy is an Envoy and nothing else."""
    for name in sorted(variables.keys() & AGENT_VARIABLES):
        yield Finding(f"{path}.{name}", "NotTranslated", "this is for Istio's agent, which no pod has: it has no effect", fatal=False)
