"""The services that the keys of an etcd register: pure."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.settings import EtcdSettings
from controlplane.sources.etcd.layouts import Registered, registered, service_of
from controlplane.sources.registry.registration import Registration

MAX_KEYS = 100_000


class EtcdServices:
    """What is registered below a prefix, key by key."""

    def __init__(self, settings: EtcdSettings) -> None:
        """Begin with nothing; ``settings`` say what the services are in the mesh."""
        self._prefix = settings.prefix
        self._domain = settings.domain
        self._port = settings.port or 0
        self._by_service: dict[str, dict[str, Registered]] = {}
        self._services: dict[str, str] = {}  # by key
        self.passed_over = False  # there are keys for which there was no room

    @property
    def names(self) -> Mapping[str, object]:
        """Return the names of the services that there are."""
        return self._by_service

    def clear(self) -> None:
        """Begin with nothing again."""
        self._by_service.clear()
        self._services.clear()
        self.passed_over = False

    def put(self, key: str, value: bytes) -> str | None:
        """Take in that ``key`` has ``value``, and return the service that this is about."""
        service = service_of(key, self._prefix)
        if service is None:
            return None
        if key not in self._services and len(self._services) >= MAX_KEYS:
            self.passed_over = True
            return None
        self._services[key] = service
        self._by_service.setdefault(service, {})[key] = registered(key, value)
        return service

    def delete(self, key: str) -> str | None:
        """Take in that ``key`` is gone, and return the service that this is about."""
        service = self._services.pop(key, None)
        if service is not None:
            of_service = self._by_service[service]
            del of_service[key]
            if not of_service:
                del self._by_service[service]
        return service

    def registration(self, service: str) -> Registration | None:
        """Return how ``service`` is registered, ``None`` if it is not."""
        by_key = self._by_service.get(service)
        if by_key is None:
            return None
        all_registered = [by_key[key] for key in sorted(by_key)]
        instances = {instance.id: instance for each in all_registered for instance in each.instances}
        return Registration(
            name=service,
            host=f"{service.lower()}.{self._domain}",
            instances=tuple(instances.values()),
            origin=f"service {service}",
            port=self._port,
            remarks=tuple(remark for each in all_registered for remark in each.remarks),
        )
