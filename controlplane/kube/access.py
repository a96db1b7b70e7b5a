"""What the API server is accessed by: a kubeconfig, or the service account of the pod. Read by the official package."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from controlplane.kube.errors import NoAccess

if TYPE_CHECKING:  # it is imported where it is used: a control plane of files starts without it
    from kubernetes.aio.client.configuration import Configuration


@dataclass(frozen=True, slots=True)
class KubernetesAccess:
    """Which kubeconfig and which context of it; neither: the pod's service account, or else the kubeconfig that kubectl takes."""

    kubeconfig: str | None = None
    context: str | None = None

    @property
    def in_cluster(self) -> bool:
        """Return whether the pod's service account is used."""
        from kubernetes.aio.config.incluster_config import SERVICE_HOST_ENV_NAME

        return not self.kubeconfig and not self.context and SERVICE_HOST_ENV_NAME in os.environ

    @property
    def file(self) -> str:
        """Return the kubeconfig that is read."""
        return self.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"


async def client_configuration(access: KubernetesAccess) -> Configuration:
    """Return host, trust and credentials as ``access`` has them now; raises NoAccess."""
    from kubernetes.aio.client.configuration import Configuration
    from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

    loaded = Configuration()
    from_pod: Callable[..., None] = load_incluster_config  # both without annotations of their own
    from_file: Callable[..., Awaitable[None]] = load_kube_config
    try:
        if access.in_cluster:
            from_pod(client_configuration=loaded, try_refresh_token=False)
        else:
            await from_file(config_file=access.file, context=access.context, client_configuration=loaded, persist_config=False)
    except (ConfigException, OSError, ValueError, TypeError, KeyError) as error:
        source = "the pod's service account" if access.in_cluster else f"the kubeconfig {access.file}"
        raise NoAccess(f"{source} cannot be used: {_one_line(error)}; name another by --kubeconfig and --context") from error
    if not loaded.host.startswith("https://"):
        raise NoAccess(f"expected an https server in the kubeconfig {access.file}, found {loaded.host[:200]!r}")
    return loaded


def credentials_fingerprint(access: KubernetesAccess, loaded: Configuration) -> tuple[tuple[int, int], ...]:
    """Return what changes when one of the files behind ``loaded`` does: a rotated token or authority."""
    from kubernetes.aio.config.incluster_config import SERVICE_CERT_FILENAME, SERVICE_TOKEN_FILENAME

    paths = [loaded.ssl_ca_cert, loaded.cert_file, loaded.key_file]
    paths += [SERVICE_TOKEN_FILENAME, SERVICE_CERT_FILENAME] if access.in_cluster else access.file.split(os.pathsep)
    return tuple(_file_states(paths))


def _file_states(paths: list[str | None]) -> Iterator[tuple[int, int]]:
    for path in paths:
        try:
            state = Path(path).expanduser().stat() if path else None
        except OSError:
            state = None
        yield (state.st_ino, state.st_mtime_ns) if state else (0, 0)


def _one_line(error: Exception) -> str:
    return str(error).replace("\n", " ")[:300] or type(error).__name__
