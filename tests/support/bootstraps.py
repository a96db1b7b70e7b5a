"""Settings of a bootstrap, as the pods of a cluster have them."""

from __future__ import annotations

from controlplane.bootstrap.bootstrap import BootstrapNode, BootstrapSettings
from controlplane.bootstrap.overload_manager import OverloadLimits
from controlplane.bootstrap.status_listeners import ApplicationProbe, StatusPorts
from controlplane.bootstrap.xds_cluster import XdsCredentials, XdsServer

CREDENTIALS = XdsCredentials(token="/own/token", roots="/own/root-cert.pem", secrets="/own", server_name="navarch.navarch-system.svc")
POD = BootstrapSettings(
    node=BootstrapNode(name="$(POD_NAME)", namespace="shop", ip="$(POD_IP)", service_account="cart", app="cart"),
    control_plane=XdsServer(addresses=("navarch.navarch-system.svc:15012",), credentials=CREDENTIALS),
    status=StatusPorts(node_addresses=("$(HOST_IP)",), application_host="$(POD_IP)"),
    probes=(
        ApplicationProbe(requested="/app-health/cart/readyz", kind="http", port=8080, path="/ready?deep=1", tls=True),
        ApplicationProbe(requested="/app-health/cart/livez", kind="tcp", port=8080, timeout_s=2),
        ApplicationProbe(requested="/app-health/side/livez", kind="grpc", port=9000, service="side"),
    ),
    limits=OverloadLimits(heap_bytes=1 << 28),
)
