"""Where proxies are not sent, whoever asks for it: a proxy stands where those who write objects do not.

An endpoint may be written by anybody who may write a ServiceEntry, a WorkloadEntry or a Service of type ExternalName, and is called by
proxies of other namespaces, the gateways at the edge among them. It must not lead them to their own administration, or to the services
that a cloud has for its machines.
"""

from __future__ import annotations

import re
from functools import lru_cache

from controlplane.model.ip_addresses import Reach, parse_address, reach
from controlplane.model.mesh import REFUSE, SOCKET_ENDPOINTS

# From 15000 the administration, from 15001 what iptables send there, health at 15021, metrics at 15090, the control plane at 15010-15017.
# https://istio.io/latest/docs/ops/deployment/application-requirements/#ports-used-by-istio
OWN_PORTS = range(15000, 15100)
CONTROL_PLANE_PORTS = range(15010, 15018)
ADMIN_PORT = 15000
STATUS_PORTS = (15021, 15090)  # that a proxy listens on by its bootstrap, at every address
_LOOPBACK_NAMES = ("localhost", "localhost.localdomain", "localhost6", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback")
_METADATA_NAMES = ("metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal")
# What systems take for an address that is not written as one: 0, 127.1, 2130706433, 0x7f000001.
# https://url.spec.whatwg.org/#ends-in-a-number-checker
_ENDS_IN_A_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)\Z", re.ASCII)
_UNIX = "unix://"
_NO_SOCKETS = f"this mesh has {SOCKET_ENDPOINTS}: {REFUSE}, so no proxy is sent there"
# What nearly every endpoint is, told apart by its text alone: a service may have thousands.
_OCTET = r"(?:[1-9]?[0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
_PLAIN = re.compile(rf"(?:[1-9][0-9]?|1[0-9]{{2}}|2[01][0-9]|22[0-3])(?:\.{_OCTET}){{3}}\Z", re.ASCII)
_WITH_SPECIAL = ("127.", "169.254.", "168.63.", "100.100.", "192.0.0.")  # ranges in which some are no endpoints


def is_socket(address: str) -> bool:
    """Return whether ``address`` is a socket of the machine that a proxy runs on, ``unix://PATH``."""
    return address.startswith(_UNIX)


@lru_cache(maxsize=1 << 16)
def endpoint_error(address: str, port: int, *, sockets: bool = True) -> str | None:
    """Return why no proxy is sent to ``port`` of ``address``, an IP address, a name or a socket; ``None`` where nothing speaks against it.

    ``sockets``: sockets may be endpoints in this mesh.
    """
    if is_socket(address):
        return None if sockets else f"{address[:80]} is a socket beside the proxy, whoever's that is: {_NO_SOCKETS}"
    if _PLAIN.match(address) and not address.startswith(_WITH_SPECIAL):
        return None
    name = address.rstrip(".").lower()
    ip = parse_address(name)
    kind = reach(ip) if ip is not None else _reach_of_name(name)
    match kind:
        case Reach.LINK_LOCAL | Reach.METADATA:
            return f"{address[:80]} is where a machine's cloud answers it: no proxy is sent there"
        case Reach.NOWHERE:
            return f"{address[:80]} is no address of one instance: no proxy is sent there"
        case Reach.LOOPBACK if port in OWN_PORTS:
            return f"port {port} of {address[:80]} is a proxy's own: no proxy is sent there"
    if ip is None and port == ADMIN_PORT:
        return f"port {port} is that of proxies' administration: a name may lead a proxy to its own"
    return None


def _reach_of_name(name: str) -> Reach | None:
    if name in _LOOPBACK_NAMES or name.endswith(".localhost"):
        return Reach.LOOPBACK
    if name in _METADATA_NAMES:
        return Reach.METADATA
    return Reach.NOWHERE if _ENDS_IN_A_NUMBER.match(name) else None
