"""Whose proxies a ProxyConfig is for, and what counts where several, an annotation and the mesh's settings say the same.

https://istio.io/latest/docs/reference/config/networking/proxy-config/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from controlplane.model.services import Labels
from controlplane.objects.networking.proxy_config import NO_SETTINGS, ProxyConfig, ProxySettings


@dataclass(frozen=True, slots=True)
class SelectedSettings:
    """Settings for the proxies of ``namespace``, or of its workloads that have ``labels``."""

    namespace: str
    labels: Labels | None  # None: no selector
    settings: ProxySettings

    def selects(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Return whether they are, by a selector, for a workload of ``namespace`` with ``labels``."""
        return self.labels is not None and self.namespace == namespace and self.labels_match(labels)

    def labels_match(self, labels: Mapping[str, str]) -> bool:
        """Return whether ``labels`` are selected."""
        return all(labels.get(name) == value for name, value in self.labels or ())


@dataclass(frozen=True, slots=True)
class ProxyConfigs:
    """All settings of proxies: those of the mesh, and those of its ProxyConfigs."""

    defaults: ProxySettings = NO_SETTINGS
    root_namespace: str = ""
    selected: tuple[SelectedSettings, ...] = ()  # the oldest first

    def settings(self, namespace: str, labels: Mapping[str, str], annotated: ProxySettings) -> ProxySettings:
        """Return what holds for the proxy of a pod of ``namespace`` with ``labels`` and ``annotated`` settings.

        A ProxyConfig with a selector counts before the annotation, that before the ProxyConfig of the namespace, and that before the one of
        the root namespace and the mesh's defaults. Of two of a kind the older one counts.
        """
        layers = (
            *(each.settings for each in self.selected if each.selects(namespace, labels)),
            annotated,
            *self._of_namespace(namespace),
            *(self._of_namespace(self.root_namespace) if namespace != self.root_namespace else ()),
        )
        found = self.defaults
        for layer in reversed(layers):
            found = layer.with_defaults(found)
        return found

    def _of_namespace(self, namespace: str) -> Iterator[ProxySettings]:
        return (each.settings for each in self.selected if each.labels is None and each.namespace == namespace)


def selected_settings(configs: Iterable[ProxyConfig]) -> tuple[SelectedSettings, ...]:
    """Return the settings of ``configs``, the oldest first."""
    in_order = sorted(configs, key=lambda config: (config.meta.seniority, config.key))
    return tuple(SelectedSettings(config.key.namespace, _labels(config), config.spec.settings) for config in in_order)


def _labels(config: ProxyConfig) -> Labels | None:
    selector = config.spec.selector
    return None if selector is None else tuple(sorted(selector.match_labels.items()))
