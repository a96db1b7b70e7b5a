"""Which image a pod's proxy runs: by its annotation, or the operator's in the type that the settings of proxies ask for.

Envoy's images are told apart by what their tags begin with: ``v1.40.0``, ``distroless-v1.40.0``, ``debug-v1.40.0``, ``contrib-v1.40.0``.
https://hub.docker.com/r/envoyproxy/envoy/tags
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from controlplane.inject import annotations as keys
from controlplane.inject.annotations import Annotations
from controlplane.objects.networking.proxy_config import ProxySettings

_DEFAULT = "default"
_PLAIN_TAG = re.compile(r":(?P<tag>v\d[-.\w]*)\Z")
_NO_SHELL = "distroless"


class ProxyImageChoice(NamedTuple):
    """An image, and what was asked for beside it without effect."""

    image: str
    warning: str = ""


def proxy_image(annotations: Annotations, config: ProxySettings, image: str) -> ProxyImageChoice:
    """Return which image the proxy of a pod with ``annotations`` runs by ``config``, where ``image`` is the operator's."""
    wanted = config.image.image_type if config.image else ""
    if own := annotations.get(keys.PROXY_IMAGE):
        return ProxyImageChoice(own)  # as in Istio: who names an image has chosen
    if not wanted or wanted == _DEFAULT:
        return ProxyImageChoice(image)
    typed, found = _PLAIN_TAG.subn(rf":{wanted}-\g<tag>", image)
    if found:
        return ProxyImageChoice(typed)
    warning = f"imageType {wanted} has no effect: the tag of {image[:200]} is not that of a release, as v1.40.0"
    return ProxyImageChoice(image, warning)


def image_warnings(annotations: Annotations, config: ProxySettings, image: str, *, is_native: bool) -> Iterator[str]:
    """Yield what of the image that ``config`` asks for has no effect, or stands in the way of the rest."""
    choice = proxy_image(annotations, config, image)
    if choice.warning:
        yield choice.warning
    if config.hold_application_until_proxy_starts and not is_native and f":{_NO_SHELL}-" in choice.image:
        yield f"the image {choice.image[:200]} has no shell, by which holdApplicationUntilProxyStarts waits where sidecars are not native"
