"""What ProxyConfigs must keep to.

https://istio.io/latest/docs/reference/config/networking/proxy-config/
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.objects.networking.proxy_config import ProxyConfig
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.selector_rules import check_selector


def check(proxy_config: ProxyConfig) -> Iterator[Finding]:
    """Yield what is wrong with ``proxy_config``."""
    yield from check_selector(proxy_config.spec.selector)
