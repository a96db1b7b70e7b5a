"""Which traffic of a pod goes through its proxy, as arguments of ``navarch iptables``: the letters are Istio's."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.bootstrap.bootstrap import ADMIN
from controlplane.bootstrap.status_listeners import StatusPorts
from controlplane.inject import annotations as keys
from controlplane.inject.annotations import Annotations
from controlplane.inject.pod import BadPod
from controlplane.model.proxies import Interception
from controlplane.objects.networking.proxy_config import ProxySettings
from controlplane.untyped import Json, section

_OUTBOUND, _INBOUND = 15001, 15006
PROXY_USER = 1337
_AGENT_PORT = 15020  # where Istio's agent listens; nobody does here, and nothing that comes there is for the mesh


class ProxyOwner(NamedTuple):
    """Whom the kernel knows the proxy's connections by: they are let pass, whoever else is this user or of this group."""

    user: int = PROXY_USER
    group: int = PROXY_USER

    @property
    def arguments(self) -> tuple[str, ...]:
        """Return the options that let it pass. Root is never let pass: what else is root in the pod would go by the proxy."""
        user, group = self.user or self.group, self.group or self.user
        return ("-u", str(user), *(() if group == PROXY_USER else ("-g", str(group))))


def proxy_owner(proxy: Json) -> ProxyOwner:
    """Return as whom the container ``proxy`` runs; raises BadPod where it cannot be told from others."""
    context = section(proxy, "securityContext")
    user, group = context.get("runAsUser"), context.get("runAsGroup")
    if not isinstance(user, int) or not isinstance(group, int) or user < 0 or group < 0:
        raise BadPod(f"securityContext of {proxy['name']}: expected numbers in runAsUser and runAsGroup")
    if user == group == 0:
        raise BadPod(
            f"securityContext of {proxy['name']}: expected runAsUser or runAsGroup other than 0: root's traffic is not the proxy's alone"
        )
    return ProxyOwner(user, group)


def interception_mode(annotations: Annotations, config: ProxySettings) -> Interception:
    """Return how traffic comes to the proxy."""
    return Interception(annotations.get(keys.INTERCEPTION_MODE) or config.interception_mode or "REDIRECT")


def check_status_port(port: int) -> None:
    """Raise BadPod where Envoy listens at ``port`` already: it would not start."""
    taken = {_OUTBOUND, _INBOUND, StatusPorts().stats, int(ADMIN.rpartition(":")[2])}
    if port in taken:
        taken_list = ", ".join(map(str, sorted(taken)))
        raise BadPod(f"the status port of its proxy is {port}: expected none of {taken_list}, which the proxy has for something else")


def iptables_arguments(annotations: Annotations, config: ProxySettings, status_port: int, owner: ProxyOwner) -> list[str]:
    """Return the arguments by the ``annotations``: ``owner`` is let pass, and ports at which Envoy is asked are never redirected."""
    status_ports = dict.fromkeys(str(port) for port in (StatusPorts().stats, StatusPorts().ready, _AGENT_PORT, status_port))
    excluded = annotations.get(keys.EXCLUDE_INBOUND_PORTS)
    optional = {
        "-q": annotations.get(keys.INCLUDE_OUTBOUND_PORTS),
        "-o": annotations.get(keys.EXCLUDE_OUTBOUND_PORTS),
        "-k": annotations.get(keys.REROUTED_INTERFACES) or annotations.get(keys.KUBEVIRT_INTERFACES),
        "-c": annotations.get(keys.EXCLUDE_INTERFACES),
    }
    return [
        *("-p", str(_OUTBOUND), "-z", str(_INBOUND), *owner.arguments, "-m", interception_mode(annotations, config).value),
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
