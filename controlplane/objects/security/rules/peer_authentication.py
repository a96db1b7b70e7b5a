"""What PeerAuthentications must keep to.

https://istio.io/latest/docs/reference/config/security/peer_authentication/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from controlplane.objects.security.peer_authentication import PeerAuthentication
from controlplane.objects.types import rules
from controlplane.objects.types.findings import Finding
from controlplane.objects.types.scalars import MAX_PORT
from controlplane.objects.types.selector_rules import check_selector

_PORT = re.compile(r"0*([0-9]{1,5})\Z", re.ASCII)


def check(policy: PeerAuthentication) -> Iterator[Finding]:
    """Yield what is wrong with ``policy``."""
    spec = policy.spec
    yield from check_selector(spec.selector)
    if spec.port_level_mtls and not (spec.selector and spec.selector.match_labels):
        yield rules.required("spec.selector.matchLabels", "labels: ports are those of some workloads, not of all")
    seen: set[int] = set()
    for port in spec.port_level_mtls:
        path = f"spec.portLevelMtls.{port}"
        number = int(match[1]) if (match := _PORT.match(port)) else 0
        if not 0 < number <= MAX_PORT:
            yield rules.out_of_range(path, f"a port from 1 to {MAX_PORT}", port)
        elif number in seen:
            yield rules.conflict(path, f"expected each port once, found {number} again")
        seen.add(number)
