"""What a registry has, as a fold over what was heard of it: pure, the clock is an argument.

A registry that has lost its state, as a server that was started anew without it, answers well and knows nothing: what is missing from it
then is in doubt. It stays for a while, beside what is registered again, and only then it is believed to be gone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace

from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.model.protocols import parse_protocol
from controlplane.objects.changes import Change
from controlplane.objects.locations import LocatedProblem, Location
from controlplane.objects.networking.service_entry import RegistryServiceEntry
from controlplane.sources.registry.entries import Convention, ConvertedService, converted
from controlplane.sources.registry.registration import Registration

MAX_SERVICES = 10_000
_ENDPOINT = re.compile(r"spec\.endpoints\[([0-9]{1,5})\]")


class RegistryMirror:
    """The services of one registry, and the objects that they are in the mesh."""

    def __init__(self, name: str, convention: Convention, grace_s: float) -> None:
        """Mirror the registry ``name`` by ``convention``; what is in doubt stays for ``grace_s``."""
        self._name = name
        self._convention = convention
        self._grace_s = grace_s
        self._registered: dict[str, Registration] = {}
        self._before_loss: dict[str, Registration] = {}  # as it was when doubt arose
        self._due: float | None = None
        self._services: dict[str, ConvertedService] = {}
        self._entries: dict[Key, RegistryServiceEntry] = {}  # in use
        self._names: dict[Key, set[str]] = {}  # of the services that an object may be made of: they differ in case alone
        self._passed_over: set[str] = set()  # names for which there is no room
        self._trouble: str | None = None
        self._limit: str | None = None
        self._copy: RegistryMirror | None = None

    def __len__(self) -> int:
        """Return how many services there are."""
        return len(self._services)

    @property
    def names(self) -> Collection[str]:
        """Return the names that the registry has, as far as is known."""
        return self._registered.keys()

    @property
    def due(self) -> float | None:
        """Return when ``settle`` has to be called, ``None`` where nothing is in doubt."""
        return self._due

    def put(self, registration: Registration) -> Iterator[Change]:
        """Take in that a service is registered like this now, and yield what changes by it."""
        name = registration.name
        if self._registered.get(name) == registration:
            return
        if name in self._services or len(self._services) < MAX_SERVICES:
            self._registered[name] = registration
            yield from self._update(name)
        elif len(self._passed_over) < MAX_SERVICES:
            self._passed_over.add(name)
            self._copy = None

    def remove(self, name: str) -> Iterator[Change]:
        """Take in that the service ``name`` is registered no more, and yield what changes by it."""
        self._passed_over.discard(name)
        if self._registered.pop(name, None) is not None:
            yield from self._update(name)

    def lost_state(self, now: float) -> bool:
        """Take in that the registry has lost what it knew: what is missing from it is kept for a while. Return whether that is new."""
        if self._due is not None:
            return False
        self._before_loss = dict(self._registered)
        self._due = now + self._grace_s
        self._copy = None
        return True

    def settle(self, now: float) -> Iterator[Change]:
        """Believe that what was in doubt is gone, if it is time, and yield what changes by it."""
        if self._due is None or now < self._due:
            return
        before_loss, self._before_loss, self._due = self._before_loss, {}, None
        self._copy = None
        for name in before_loss:
            yield from self._update(name)

    def report(self, trouble: str | None) -> None:
        """Take in why nothing is heard of the registry just now, or that all is well."""
        if trouble != self._trouble:
            self._trouble = trouble
            self._copy = None

    def limit(self, reason: str | None) -> None:
        """Take in why not all that the registry has is read, ``None`` if it is."""
        if reason != self._limit:
            self._limit = reason
            self._copy = None

    def copy(self) -> RegistryMirror:
        """Return it as it is now, to be asked for problems and origins elsewhere: one and the same until something is taken in."""
        if self._copy is None:
            self._copy = copied = RegistryMirror(self._name, self._convention, self._grace_s)
            copied._services, copied._entries = dict(self._services), dict(self._entries)
            copied._names = {key: set(names) for key, names in self._names.items()}
            copied._before_loss, copied._passed_over = self._before_loss, set(self._passed_over)
            copied._trouble, copied._limit = self._trouble, self._limit
        return self._copy

    def problems_by_document(self) -> Iterator[tuple[LocatedProblem, ...]]:
        """Yield what is wrong with the registry, and with each service of it."""
        place = Location(self._name)
        yield tuple(LocatedProblem(Problem(None, "", Severity.WARNING, code, message), place) for code, message in self._troubles())
        yield from self._indistinct_ports()
        for name in sorted(self._services):
            service = self._services[name]
            yield tuple(LocatedProblem(problem, self._place(service, problem.field)) for problem in self._problems(name, service))

    def location(self, key: Key, path: str) -> Location | None:
        """Return where the registry has the field ``path`` of the object ``key``; ``None`` for an object that is not of it."""
        names = self._names.get(key)
        return self._place(self._services[min(names)], path) if names else None

    def _place(self, service: ConvertedService, path: str) -> Location:
        found = _ENDPOINT.match(path)
        index = int(found[1]) if found else -1
        instance = f", {service.origins[index]}" if 0 <= index < len(service.origins) else ""
        return Location(f"{self._name}: {service.origin}{instance}")

    def _troubles(self) -> Iterator[tuple[str, str]]:
        if self._trouble is not None:
            consequence = "what was read last stays" if self._services else "nothing of it is there until it answers"
            yield "RegistryUnreachable", f"{self._trouble}; {consequence}"
        if self._before_loss:
            yield "RegistryRestarted", f"it has lost what it knew: what is missing stays for up to {self._grace_s:g} s"
        if self._limit is not None:
            yield "RegistryLimited", self._limit
        if self._passed_over:
            shown = ", ".join(sorted(self._passed_over)[:3])
            yield "TooManyServices", f"expected at most {MAX_SERVICES} services: {len(self._passed_over)} are passed over, as {shown}"

    def _indistinct_ports(self) -> Iterator[tuple[LocatedProblem, ...]]:
        """Yield the services of whole connections that share a port with another: nothing tells connections to them apart."""
        by_port: dict[int, list[Key]] = {}
        for key in sorted(self._entries):
            for port in self._entries[key].spec.ports:
                if not (parse_protocol(port.protocol).is_http or parse_protocol(port.protocol).is_tls):
                    by_port.setdefault(port.number, []).append(key)
        for number, (first, *others) in by_port.items():
            for key in others:
                message = f"connections to port {number} go to {first}: without a protocol such as http or tls, nothing tells them apart"
                yield (LocatedProblem(Problem(key, "spec.ports", Severity.WARNING, "Ambiguous", message), self.location(key, "")),)

    def _problems(self, name: str, service: ConvertedService) -> Iterator[Problem]:
        first = min(self._names[service.key])
        if first != name:
            message = f"{self._services[first].origin} is the same service, as case makes no difference, and is used instead"
            yield Problem(service.key, "", Severity.WARNING, "Duplicate", message)
            return
        yield from service.problems
        if service.refused and (fate := service.refused.fate(self._entries.get(service.key))):
            yield fate

    def _update(self, name: str) -> Iterator[Change]:
        """Convert the service ``name`` as it is now, and yield what changes by it."""
        self._copy = None
        registration = self._effective(name)
        if registration is None:
            key = self._services.pop(name).key
            self._names[key].discard(name)
        else:
            service = self._services[name] = converted(registration, self._convention)
            key = service.key
            self._names.setdefault(key, set()).add(name)
        if not self._names[key]:
            del self._names[key]
            if self._entries.pop(key, None) is not None:
                yield Change(key, None)
            return
        entry = self._services[min(self._names[key])].entry
        if entry is not None and self._entries.get(key) != entry:
            self._entries[key] = entry
            yield Change(key, entry)

    def _effective(self, name: str) -> Registration | None:
        """Return the service ``name`` with the instances of it that are in doubt; ``None`` where there is none."""
        registered, before_loss = self._registered.get(name), self._before_loss.get(name)
        if registered is None or before_loss is None:
            return registered or before_loss
        ids = {instance.id for instance in registered.instances}
        missing = [instance for instance in before_loss.instances if instance.id not in ids]
        return replace(registered, instances=tuple(sorted((*registered.instances, *missing), key=lambda instance: instance.id)))
