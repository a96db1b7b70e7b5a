"""Which traffic of a pod goes through its proxy, as arguments of ``navarch iptables``: the letters are Istio's."""

from __future__ import annotations

from controlplane.bootstrap.bootstrap import ADMIN
from controlplane.bootstrap.status_listeners import StatusPorts
from controlplane.inject import annotations as say
from controlplane.inject.annotations import Annotations
from controlplane.inject.pod import BadPod
from controlplane.model.proxies import Interception
from controlplane.objects.networking.proxy_config import ProxySettings

_OUTBOUND, _INBOUND, _PROXY_USER = 15001, 15006, 1337
_AGENT = 15020  # where Istio's agent listens; nobody does here, and nothing that comes there is for the mesh


def interception_mode(said: Annotations, config: ProxySettings) -> Interception:
    """Return how traffic comes to the proxy."""
    return Interception(said.get(say.INTERCEPTION_MODE) or config.interception_mode or "REDIRECT")


def check_status_port(port: int) -> None:
    """Raise BadPod where Envoy listens at ``port`` already: it would not start."""
    taken = {_OUTBOUND, _INBOUND, StatusPorts().stats, int(ADMIN.rpartition(":")[2])}
    if port in taken:
        others = ", ".join(map(str, sorted(taken)))
        raise BadPod(f"the status port of its proxy is {port}: expected none of {others}, which the proxy has for something else")


def iptables_arguments(said: Annotations, config: ProxySettings, status_port: int) -> list[str]:
    """Return the arguments by what is ``said``; the ports at which Envoy itself is asked are never redirected."""
    asked = dict.fromkeys(str(each) for each in (StatusPorts().stats, StatusPorts().ready, _AGENT, status_port))
    beside = said.get(say.EXCLUDE_INBOUND_PORTS)
    optional = {
        "-q": said.get(say.INCLUDE_OUTBOUND_PORTS),
        "-o": said.get(say.EXCLUDE_OUTBOUND_PORTS),
        "-k": said.get(say.KUBEVIRT_INTERFACES),
        "-c": said.get(say.EXCLUDE_INTERFACES),
    }
    return [
        *("-p", str(_OUTBOUND), "-z", str(_INBOUND), "-u", str(_PROXY_USER), "-m", interception_mode(said, config).value),
        *("-i", _or(said.get(say.INCLUDE_OUTBOUND_RANGES), "*"), "-x", said.get(say.EXCLUDE_OUTBOUND_RANGES) or ""),
        *("-b", _or(said.get(say.INCLUDE_INBOUND_PORTS), "*"), "-d", ",".join([*asked, *([beside] if beside else [])])),
        *(part for letter, value in optional.items() if value for part in (letter, value)),
    ]


def _or(value: str | None, default: str) -> str:
    return default if value is None else value  # an empty list is one: of nothing
