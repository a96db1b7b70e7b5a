"""What is put into a pod: a stock Envoy, told all that it needs by its arguments, and before it what redirects the pod's traffic to it.

The names of containers, volumes and variables are Istio's. Envoy's bootstrap is an argument, in which the kubelet puts the pod's name and
addresses; token and roots come by files that the kubelet keeps new. docs/decisions/no-agent.md says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from math import ceil

import orjson

from controlplane.bootstrap.bootstrap import BootstrapNode, BootstrapSettings, bootstrap
from controlplane.bootstrap.overload_manager import OverloadLimits
from controlplane.bootstrap.status_listeners import DRAIN_PATH, READY_PATH, ApplicationProbe, StatusPorts
from controlplane.bootstrap.xds_cluster import XdsCredentials, XdsServer, secret_files
from controlplane.inject import annotations as keys
from controlplane.inject.annotations import Annotations
from controlplane.inject.iptables_args import PROXY_USER, ProxyOwner, interception_mode, iptables_arguments
from controlplane.inject.pod import BadPod, CandidatePod
from controlplane.inject.probes import escaped_argument
from controlplane.inject.proxy_image import proxy_image
from controlplane.inject.proxy_statistics import proxy_statistics
from controlplane.inject.resources import DEFAULT_RESOURCES, heap_bytes, proxy_resources, worker_threads
from controlplane.model.proxies import PROXY_CONTAINER, Interception, ProxyType
from controlplane.objects.networking.proxy_config import METADATA_PREFIX, ProxySettings
from controlplane.settings import InjectionSettings
from controlplane.translate.patches.patch import EnvoyPatch
from controlplane.untyped import Json

INIT_CONTAINER = "istio-init"
NAVARCH_IMAGE = f"navarch:{version('navarch')}"
_TOKEN_VOLUME, _ROOTS_VOLUME, _INFO_VOLUME = "istio-token", "istiod-ca-cert", "istio-podinfo"
_MOUNTS = {_TOKEN_VOLUME: "/var/run/secrets/tokens", _ROOTS_VOLUME: "/var/run/secrets/istio", _INFO_VOLUME: "/etc/istio/pod"}
SECRETS = "secrets.navarch.io/"  # of annotations that the downward API makes files of
_TOKEN_S = 43_200
_MAX_BOOTSTRAP = 96 << 10  # an argument has at most 128 KiB, and some of it is put in later
# By the name in the bootstrap: what the kubelet puts there. https://kubernetes.io/docs/concepts/workloads/pods/downward-api/
_FIELDS = {
    "POD_NAME": "metadata.name",
    "POD_NAMESPACE": "metadata.namespace",
    "INSTANCE_IP": "status.podIP",
    "INSTANCE_IPS": "status.podIPs",
    "HOST_IP": "status.hostIP",
    "SERVICE_ACCOUNT": "spec.serviceAccountName",
    "NODE_NAME": "spec.nodeName",
}
_LOOPBACK = "127.0.0.1"
_TERMINATION_DRAIN_S = 5  # Istio's terminationDrainDuration: how long Envoy goes on when its pod is stopped
_DRAIN_S = 45  # Istio's drainDuration: how long a listener that was replaced goes on with what it has begun


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectionPlan:
    """All that decides what is put into one pod."""

    pod: CandidatePod
    settings: InjectionSettings
    config: ProxySettings
    is_native: bool  # the proxy is an init container that goes on running
    probes: tuple[ApplicationProbe, ...] = ()
    metrics: ApplicationProbe | None = None  # of the application
    own_resources: Json = field(default_factory=dict)  # that the pod's own container for its proxy asks for
    owner: ProxyOwner = field(default_factory=ProxyOwner)  # as whom the proxy runs
    patches: tuple[EnvoyPatch, ...] = ()  # to what it is started with

    @property
    def annotations(self) -> Annotations:
        """Return the annotations of the pod."""
        return self.pod.annotations

    @property
    def is_gateway(self) -> bool:
        """Return whether the proxy is no sidecar, but a gateway itself."""
        return self.annotations.get(keys.TEMPLATES) == "gateway"

    @property
    def interception(self) -> Interception:
        """Return how traffic comes to the proxy."""
        return Interception.NONE if self.is_gateway else interception_mode(self.annotations, self.config)

    @property
    def status_port(self) -> int:
        """Return the port at which Envoy says how it and the application are."""
        return self.annotations.get(keys.STATUS_PORT) or self.config.status_port or StatusPorts().ready


def proxy_container(plan: InjectionPlan) -> Json:
    """Return the container of Envoy; raises BadPod where the pod asks for more than fits."""
    resources = proxy_resources(plan.annotations, plan.own_resources)
    return {
        "name": PROXY_CONTAINER,
        "image": proxy_image(plan.annotations, plan.config, plan.settings.proxy_image).image,
        "command": ["envoy"],
        "args": _arguments(plan, resources),
        "env": [
            *({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}} for name, path in _FIELDS.items()),
            *({"name": name, "value": value} for name, value in sorted(_variables(plan).items())),
        ],
        "ports": [{"name": "http-envoy-prom", "containerPort": StatusPorts().stats, "protocol": "TCP"}],
        "resources": resources,
        "securityContext": _security_context(plan.interception),
        **_readiness_probes(plan),
        "lifecycle": _lifecycle(plan),
        "volumeMounts": [
            *({"name": name, "mountPath": path, "readOnly": True} for name, path in _MOUNTS.items()),
            *(plan.annotations.get(keys.USER_VOLUME_MOUNT) or ()),
        ],
        **({"restartPolicy": "Always"} if plan.is_native else {}),
    }


def init_container(plan: InjectionPlan) -> Json | None:
    """Return the container that redirects the traffic of the pod, None where nothing has to or something else does."""
    if plan.settings.cni or plan.interception is Interception.NONE:
        return None
    return {
        "name": INIT_CONTAINER,
        "image": plan.settings.init_image or NAVARCH_IMAGE,
        "args": ["iptables", *iptables_arguments(plan.annotations, plan.config, plan.status_port, plan.owner)],
        "resources": DEFAULT_RESOURCES,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "runAsUser": 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def proxy_volumes(plan: InjectionPlan) -> list[Json]:
    """Return the volumes of the proxy."""
    token = {"audience": plan.settings.audience, "expirationSeconds": _TOKEN_S, "path": "istio-token"}
    fields = ["labels", "annotations"]
    files = [{"path": name, "fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.{name}"}} for name in fields]
    files += [
        {"path": name, "fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.annotations['{SECRETS}{name}']"}}
        for name in secret_files(_credentials(plan.settings))
    ]
    return [
        {"name": _TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}},
        {"name": _ROOTS_VOLUME, "configMap": {"name": "istio-ca-root-cert"}},
        {"name": _INFO_VOLUME, "downwardAPI": {"items": files}},
        *(plan.annotations.get(keys.USER_VOLUME) or ()),
    ]


def secret_annotations(settings: InjectionSettings) -> dict[str, str]:
    """Return the annotations that tell Envoy in which files it finds token and roots: it watches these only if a file says so."""
    return {f"{SECRETS}{name}": content for name, content in secret_files(_credentials(settings)).items()}


def _control_plane(settings: InjectionSettings) -> XdsServer:
    return XdsServer(addresses=(settings.control_plane,), credentials=_credentials(settings))


def _credentials(settings: InjectionSettings) -> XdsCredentials:
    return XdsCredentials(
        token=f"{_MOUNTS[_TOKEN_VOLUME]}/istio-token",
        roots=f"{_MOUNTS[_ROOTS_VOLUME]}/root-cert.pem",
        secrets=_MOUNTS[_INFO_VOLUME],
        server_name=settings.control_plane.rpartition(":")[0],
    )


def _arguments(plan: InjectionPlan, resources: Json) -> list[str]:
    config, annotations = plan.config, plan.annotations
    bootstrap_json = orjson.dumps(bootstrap(_bootstrap(plan, resources))).decode()
    if len(bootstrap_json.encode()) > _MAX_BOOTSTRAP:
        raise BadPod(
            f"the bootstrap of its proxy has more than {_MAX_BOOTSTRAP >> 10} KiB: expected fewer or shorter probes and names of statistics"
        )
    drain_s = _DRAIN_S if config.drain_duration is None else ceil(config.drain_duration / 1000)
    number = config.concurrency if config.concurrency is not None else worker_threads(resources)  # 0: as many as there are cores
    levels = annotations.get(keys.COMPONENT_LOG_LEVEL)
    return [
        *("--config-yaml", bootstrap_json),
        *("--log-level", annotations.get(keys.LOG_LEVEL) or "warning"),
        *(("--component-log-level", levels) if levels else ()),
        *(("--concurrency", str(number)) if number else ()),
        *("--drain-time-s", str(drain_s), "--drain-strategy", "immediate"),
        "--disable-hot-restart",
    ]


def _bootstrap(plan: InjectionPlan, resources: Json) -> BootstrapSettings:
    pod, settings, annotations = plan.pod, plan.settings, plan.annotations
    metadata = {
        "APP_CONTAINERS": ",".join(escaped_argument(str(container["name"])) for container in pod.application_containers),
        "CLUSTER_ID": escaped_argument(settings.cluster),
        "INSTANCE_IPS": "$(INSTANCE_IPS)",
        "NODE_NAME": "$(NODE_NAME)",
        "WORKLOAD_NAME": escaped_argument(pod.workload) or "$(POD_NAME)",
    }
    metadata |= {name.removeprefix(METADATA_PREFIX): value for name, value in _variables(plan).items() if name.startswith(METADATA_PREFIX)}
    node = BootstrapNode(
        name="$(POD_NAME)",
        namespace="$(POD_NAMESPACE)",
        ip="$(INSTANCE_IP)",
        service_account="$(SERVICE_ACCOUNT)",
        app=escaped_argument(pod.labels.get("app") or pod.workload) or "$(POD_NAME)",
        service=_service_name(plan),
        type=ProxyType.ROUTER if plan.is_gateway else ProxyType.SIDECAR,
        interception=plan.interception,
        more=tuple(metadata.items()),
    )
    return BootstrapSettings(
        node=node,
        control_plane=_control_plane(settings),
        # Whether the pod will have IPv4 or IPv6 is not known yet, nor whether its machine can do both: its own address says it.
        status=StatusPorts(
            host="$(INSTANCE_IP)",
            additional_hosts=(_LOOPBACK,),
            ready=plan.status_port,
            node_addresses=("$(HOST_IP)", *settings.node_addresses),
            application_host="$(INSTANCE_IP)",
            drain_s=_termination_drain_s(plan.config),
            metrics=plan.metrics,
            is_gateway=plan.is_gateway,
        ),
        probes=plan.probes,
        limits=OverloadLimits(heap_bytes=heap_bytes(resources)),
        statistics=proxy_statistics(annotations, plan.config),
        patches=plan.patches,
    )


def _variables(plan: InjectionPlan) -> Mapping[str, str]:
    return plan.config.proxy_metadata or {}


def _service_name(plan: InjectionPlan) -> str:
    """Return what traces call the pod; empty: by its label ``app``, and its namespace."""
    name = escaped_argument(plan.pod.canonical_name) or "$(POD_NAME)"
    names = {"CANONICAL_NAME_ONLY": name, "CANONICAL_NAME_AND_NAMESPACE": f"{name}.$(POD_NAMESPACE)"}
    return names.get(plan.config.tracing_service_name or "", "")


def _termination_drain_s(config: ProxySettings) -> int:
    return _TERMINATION_DRAIN_S if config.termination_drain_duration is None else ceil(config.termination_drain_duration / 1000)


def _security_context(interception: Interception) -> Json:
    """Return the security context of Envoy, which needs root and a capability only to answer in the name of another (TPROXY)."""
    transparent = interception is Interception.TPROXY
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {**({"add": ["NET_ADMIN"]} if transparent else {}), "drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsGroup": PROXY_USER,
        "runAsNonRoot": not transparent,
        "runAsUser": 0 if transparent else PROXY_USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _readiness_probes(plan: InjectionPlan) -> Json:
    """Return the probes of Envoy itself, which is ready when it has a configuration."""
    if plan.annotations.get(keys.STATUS_PORT) == 0:
        return {}
    probe = {"httpGet": {"path": READY_PATH, "port": plan.status_port, "scheme": "HTTP"}, "timeoutSeconds": 3}
    delay = plan.annotations.get(keys.READINESS_DELAY)
    return {
        "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 600},
        "readinessProbe": {
            **probe,
            **({"initialDelaySeconds": delay} if delay else {}),
            "periodSeconds": plan.annotations.get(keys.READINESS_PERIOD) or 15,
            "failureThreshold": plan.annotations.get(keys.READINESS_FAILURES) or 4,
        },
    }


def _lifecycle(plan: InjectionPlan) -> Json:
    """Return what is done after the start and before the stop: applications wait for Envoy, and Envoy for what has begun."""
    stop = {"httpGet": {"path": DRAIN_PATH, "port": plan.status_port, "scheme": "HTTP"}}
    if plan.is_native or not plan.config.hold_application_until_proxy_starts:
        return {"preStop": stop}
    return {"postStart": {"exec": {"command": ["bash", "-c", _WAIT.format(port=plan.status_port, path=READY_PATH)]}}, "preStop": stop}


# Where the proxy is an init container, its startup probe does this, and no shell is needed.
_WAIT = """for ((i = 0; i < 600; i++)); do
  if exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [ "$status" = 200 ]
  then exit 0; fi
  sleep 0.2
done 2>/dev/null
exit 1
"""
