"""What ProxyConfigs must keep to.

https://istio.io/latest/docs/reference/config/networking/proxy-config/
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.objects.proxy_config import ProxyConfig
from controlplane.objects.review import Finding
from controlplane.objects.rules.selectors import check_workloads


def check(value: ProxyConfig) -> Iterator[Finding]:
    """Yield what is wrong with ``value``."""
    yield from check_workloads(value.spec.selector)
