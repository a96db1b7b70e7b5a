"""What PeerAuthentications must keep to.

https://istio.io/latest/docs/reference/config/security/peer_authentication/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from controlplane.objects.peer_authentication import PeerAuthentication
from controlplane.objects.review import Finding
from controlplane.objects.rules import common
from controlplane.objects.rules.selectors import check_workloads
from controlplane.objects.scalars import MAX_PORT

_PORT = re.compile(r"0*([0-9]{1,5})\Z", re.ASCII)


def check(value: PeerAuthentication) -> Iterator[Finding]:
    """Yield what is wrong with ``value``."""
    spec = value.spec
    yield from check_workloads(spec.selector)
    if spec.port_level_mtls and not (spec.selector and spec.selector.match_labels):
        yield common.required("spec.selector.matchLabels", "labels: ports are those of some workloads, not of all")
    seen: set[int] = set()
    for port in spec.port_level_mtls:
        path = f"spec.portLevelMtls.{port}"
        number = int(found[1]) if (found := _PORT.match(port)) else 0
        if not 0 < number <= MAX_PORT:
            yield common.out_of_range(path, f"a port from 1 to {MAX_PORT}", port)
        elif number in seen:
            yield common.conflict(path, f"expected each port once, found {number} again")
        seen.add(number)
