"""Which traffic of a pod goes through its proxy, as arguments of ``navarch iptables``: the letters are Istio's."""

from __future__ import annotations

from controlplane.bootstrap.bootstrap import ADMIN
from controlplane.bootstrap.status_listeners import StatusPorts
from controlplane.inject import annotations as keys
from controlplane.inject.annotations import Annotations
from controlplane.inject.pod import BadPod
from controlplane.model.proxies import Interception
from controlplane.objects.networking.proxy_config import ProxySettings

_OUTBOUND, _INBOUND, _PROXY_USER = 15001, 15006, 1337
_AGENT_PORT = 15020  # where Istio's agent listens; nobody does here, and nothing that comes there is for the mesh


def interception_mode(annotations: Annotations, config: ProxySettings) -> Interception:
    """Return how traffic comes to the proxy."""
    return Interception(annotations.get(keys.INTERCEPTION_MODE) or config.interception_mode or "REDIRECT")


def check_status_port(port: int) -> None:
    """Raise BadPod where Envoy listens at ``port`` already: it would not start."""
    taken = {_OUTBOUND, _INBOUND, StatusPorts().stats, int(ADMIN.rpartition(":")[2])}
    if port in taken:
        taken_list = ", ".join(map(str, sorted(taken)))
        raise BadPod(f"the status port of its proxy is {port}: expected none of {taken_list}, which the proxy has for something else")


def iptables_arguments(annotations: Annotations, config: ProxySettings, status_port: int) -> list[str]:
    """Return the arguments by the ``annotations``; the ports at which Envoy itself is asked are never redirected."""
    status_ports = dict.fromkeys(str(port) for port in (StatusPorts().stats, StatusPorts().ready, _AGENT_PORT, status_port))
    excluded = annotations.get(keys.EXCLUDE_INBOUND_PORTS)
    optional = {
        "-q": annotations.get(keys.INCLUDE_OUTBOUND_PORTS),
        "-o": annotations.get(keys.EXCLUDE_OUTBOUND_PORTS),
        "-k": annotations.get(keys.KUBEVIRT_INTERFACES),
        "-c": annotations.get(keys.EXCLUDE_INTERFACES),
    }
    return [
        *("-p", str(_OUTBOUND), "-z", str(_INBOUND), "-u", str(_PROXY_USER), "-m", interception_mode(annotations, config).value),
        *("-i", _or_default(annotations.get(keys.INCLUDE_OUTBOUND_RANGES), "*"), "-x", annotations.get(keys.EXCLUDE_OUTBOUND_RANGES) or ""),
        *(
            "-b",
            _or_default(annotations.get(keys.INCLUDE_INBOUND_PORTS), "*"),
            "-d",
            ",".join([*status_ports, *([excluded] if excluded else [])]),
        ),
        *(part for letter, value in optional.items() if value for part in (letter, value)),
    ]


def _or_default(value: str | None, default: str) -> str:
    return default if value is None else value  # an empty list is one: of nothing
