"""The credentials that Gateways and DestinationRules name, for those proxies that may have them.

A request is authorized before anything is looked up: whether the credential is of the proxy's namespace, whether any object refers to it,
whether the service account may read Secrets there. Only then it is read, checked, and put into the table of that proxy alone. It never
enters the database; the reason why one cannot be used does.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.ca.certificates import BadCertificate
from controlplane.ca.leaf_certificates import LeafHolder
from controlplane.ca.user_credentials import certificate_and_key, trusted_authorities
from controlplane.envoy.type_urls import SDS
from controlplane.errors import InvalidResource, UserError
from controlplane.mesh.facts import CredentialFault, CredentialVerdict
from controlplane.mesh.publish.encode import checked_resource
from controlplane.model.credentials import Credential, parse_credential
from controlplane.model.keys import CONFIG_MAP, SECRET, Key
from controlplane.objects.kubernetes.secrets import AUTHORITY, CERTIFICATE, KEY, REVOCATIONS
from controlplane.serve.sds.access_review import SecretAccess
from controlplane.serve.sds.secret_stores import CredentialStore, Entries
from controlplane.translate.tls import secrets
from controlplane.xds.resource import Resource

log = logging.getLogger(__name__)

# How long a stream waits: Envoy holds a listener back for 15 s where it gets no answer, and not at all where it is answered too soon.
WAIT_S = 2.0
_CHECK_S = 1.0
_MAX_LOGGED_NAME = 300  # characters of a name that a proxy has requested
_UNREFERRED = "nothing refers to it"


class _UnusableCredential(UserError):
    """A credential that its holder cannot have; the text is for the author of the object that refers to it."""


class _CredentialUnavailable(_UnusableCredential):
    """It cannot be read, or what is there now cannot be used: a holder of an earlier one keeps it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialInputs:
    """What credentials are looked up and authorized by, and where results go."""

    stores: Sequence[CredentialStore]  # the first that has a credential wins
    access: SecretAccess
    referred: Callable[[], frozenset[str]]
    put: Callable[[LeafHolder, Mapping[str, Resource], frozenset[str]], None]  # of a holder: its resources, and the names it has none of
    submit: Callable[[CredentialVerdict], None]
    clock: Callable[[], dt.datetime]
    recheck_s: float = 30.0  # after which all is checked again: access that was revoked, certificates that expire


class ReferredCredentials:
    """Keeps the credentials of all proxies that have requested some."""

    def __init__(self, inputs: CredentialInputs) -> None:
        """Keep them by ``inputs``."""
        self._inputs = inputs
        self._requested: dict[LeafHolder, dict[str, Credential]] = {}
        self._reasons: dict[tuple[str, str], dict[LeafHolder, CredentialFault | None]] = defaultdict(dict)  # by SDS name and namespace
        self._changed: set[Key] = set()
        self._wake_event = asyncio.Event()
        for store in inputs.stores:
            store.on_change(self._key_changed)

    async def load(self, holder: LeafHolder, names: Iterable[str]) -> None:
        """Put into the table of ``holder`` what it may have of ``names``, and nothing else of them, before they are answered."""
        parsed = {name: credential for name in names if (credential := parse_credential(name, holder.who.namespace))}
        credentials = {name: parsed[name] for name in parsed.keys() & self._referred(parsed)}
        if foreign := sorted(parsed.keys() - credentials.keys()):
            log_fields = {"identity": holder.who.uri, "credential": foreign[0][:_MAX_LOGGED_NAME], "names": len(foreign)}
            log.warning("credential not given", extra={**log_fields, "reason": _UNREFERRED})
        if not credentials:
            return
        self._requested.setdefault(holder, {}).update(credentials)
        try:
            async with asyncio.timeout(WAIT_S):
                await self._settle(holder, credentials)
        except TimeoutError:
            log.warning("credential not known yet", extra={"identity": holder.who.uri})
            self._changed.update(key for credential in credentials.values() for key in credential_keys(credential))
            self._wake_event.set()

    def leave(self, holder: LeafHolder) -> None:
        """Forget what ``holder`` has requested."""
        for name, credential in self._requested.pop(holder, {}).items():
            self._forget_reason(name, holder, credential.namespace)
            self._unwatch(credential)

    def counts(self) -> dict[str, int]:
        """Return how many credentials are held and how many are unusable, a proxy and a name each."""
        usable = [reason is None or reason.given for reasons in self._reasons.values() for reason in reasons.values()]
        return {"held": sum(usable), "unusable": len(usable) - sum(usable)}

    async def run(self) -> None:
        """Settle what has changed, and everything now and then, until cancelled."""
        previous, all_at = frozenset[str](), 0.0
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_S):
                    await self._wake_event.wait()
            self._wake_event.clear()
            changed, self._changed = self._changed, set()
            referred = self._inputs.referred()
            everything = loop.time() >= all_at
            try:
                await self._settle_changed(changed, referred ^ previous, everything=everything)
            except Exception:  # an internal error; the next round begins anew
                log.exception("credentials failed")
            previous, all_at = referred, loop.time() + self._inputs.recheck_s if everything else all_at

    def _key_changed(self, key: Key) -> None:
        self._changed.add(key)
        self._wake_event.set()

    def _referred(self, names: Iterable[str]) -> frozenset[str]:
        """Return the names that objects refer to, where there are any ``names`` to look for."""
        return self._inputs.referred() if names else frozenset()

    async def _settle_changed(self, changed: set[Key], names: frozenset[str], *, everything: bool) -> None:
        """Settle what depends on ``changed``, and what is called by ``names``; or ``everything``."""
        for holder, requested in tuple(self._requested.items()):
            concerned = {
                name: credential
                for name, credential in requested.items()
                if everything or name in names or not changed.isdisjoint(credential_keys(credential))
            }
            if concerned:
                await self._settle(holder, concerned)

    async def _settle(self, holder: LeafHolder, credentials: Mapping[str, Credential]) -> None:
        await self._inputs.access.may_read(holder.who)  # once, before all ask at once
        await asyncio.gather(*(self._settle_one(holder, name, credential) for name, credential in credentials.items()))

    async def _settle_one(self, holder: LeafHolder, name: str, credential: Credential) -> None:
        try:
            resource, faults = await self._resource(holder, name, credential)
        except _UnusableCredential as error:
            if name not in self._requested.get(holder, ()):
                return  # the holder has left meanwhile
            if not isinstance(error, _CredentialUnavailable):
                self._inputs.put(holder, {}, frozenset((name,)))
            self._set_reason(name, holder, credential.namespace, CredentialFault(credential.namespace, str(error)))
            return
        if name in self._requested.get(holder, ()):
            self._inputs.put(holder, {name: resource}, frozenset())
            reason = CredentialFault(credential.namespace, "; ".join(faults), given=True) if faults else None
            self._set_reason(name, holder, credential.namespace, reason)

    async def _resource(self, holder: LeafHolder, name: str, credential: Credential) -> tuple[Resource, tuple[str, ...]]:
        """Return what ``holder`` gets, and what of it cannot be used; raises _UnusableCredential where it gets nothing."""
        if name not in self._inputs.referred():
            self._unwatch(credential)
            raise _UnusableCredential(_UNREFERRED)
        if credential.namespace != holder.who.namespace:
            raise _UnusableCredential(f"it is of the namespace {credential.namespace}")
        allowed = await self._inputs.access.may_read(holder.who)
        if allowed is None:
            raise _CredentialUnavailable("the API server cannot be asked whether the service account may read Secrets")
        if not allowed:
            raise _UnusableCredential(f"the service account {holder.who.service_account} may not list Secrets there")
        key, entries = await self._entries(credential)
        try:
            return credential_resource(name, credential, (key, entries), self._inputs.clock())
        except (BadCertificate, InvalidResource) as error:
            raise _CredentialUnavailable(f"{key}: {error}") from error

    async def _entries(self, credential: Credential) -> tuple[Key, Entries]:
        """Return key and entries of the first object that ``credential`` may mean; raises _UnusableCredential where there is none."""
        wanted = frozenset(AUTHORITY if credential.authority else (*CERTIFICATE, *KEY))
        reasons: list[str] = []
        unsuitable: tuple[Key, Entries] | None = None
        for key in credential_keys(credential):
            for store in self._inputs.stores:
                await store.watch(key)
                entries = store.entries(key)
                if entries is not None and not wanted.isdisjoint(entries):
                    return key, entries
                unsuitable = (key, entries) if unsuitable is None and entries is not None else unsuitable
                if trouble := store.trouble(key):
                    reasons.append(f"{key} cannot be read: {trouble}")
        if unsuitable is not None:
            return unsuitable
        if reasons:
            raise _CredentialUnavailable(reasons[0])
        raise _UnusableCredential(
            f"there is no {credential_keys(credential)[-1 if credential.authority else 0].kind} {credential.name} there"
        )

    def _unwatch(self, unneeded: Credential) -> None:
        referred = self._inputs.referred()
        used = {
            key
            for requested in self._requested.values()
            for name, credential in requested.items()
            if name in referred
            for key in credential_keys(credential)
        }
        for key in credential_keys(unneeded):
            if key not in used:
                for store in self._inputs.stores:
                    store.unwatch(key)

    def _set_reason(self, name: str, holder: LeafHolder, namespace: str, reason: CredentialFault | None) -> None:
        """Note what is wrong with the credential ``name`` for ``holder`` (``None``: nothing), and submit the verdict if that changes."""
        before = tuple(self._verdicts(name))
        if reason is not None and self._reasons[name, namespace].get(holder) != reason:
            said = "credential given in part" if reason.given else "credential not given"
            log.warning(said, extra={"identity": holder.who.uri, "credential": name, "reason": reason.reason})
        self._reasons[name, namespace][holder] = reason
        self._submit_if_changed(name, before)

    def _forget_reason(self, name: str, holder: LeafHolder, namespace: str) -> None:
        before = tuple(self._verdicts(name))
        reasons = self._reasons[name, namespace]
        reasons.pop(holder, None)
        if not reasons:
            del self._reasons[name, namespace]
        self._submit_if_changed(name, before)

    def _submit_if_changed(self, name: str, before: tuple[CredentialFault, ...]) -> None:
        after = tuple(self._verdicts(name))
        if after != before:
            self._inputs.submit(CredentialVerdict(name, after))

    def _verdicts(self, name: str) -> Iterator[CredentialFault]:
        """Yield what is wrong with the credential ``name`` for every holder of a namespace that has requested it."""
        for (credential_name, _), reasons in sorted(self._reasons.items()):
            faults = [reason for reason in reasons.values() if reason is not None]
            if credential_name == name and faults and len(faults) == len(reasons):
                yield min(faults)


def credential_keys(credential: Credential) -> tuple[Key, ...]:
    """Return the objects that ``credential`` may mean; the first that has it wins."""
    if not credential.authority:
        return (SECRET.key(credential.namespace, credential.name),)
    names = (f"{credential.name}-cacert", credential.name)
    return tuple(kind.key(credential.namespace, name) for kind in (SECRET, CONFIG_MAP) for name in names)


def credential_resource(
    name: str, credential: Credential, found: tuple[Key, Entries], now: dt.datetime
) -> tuple[Resource, tuple[str, ...]]:
    """Return ``credential`` as SDS has it by ``name``, of the object ``found``, and what of that cannot be used.

    Raises BadCertificate, InvalidResource.
    """
    key, entries = found
    if credential.authority:
        trusted = trusted_authorities(entries, (AUTHORITY, REVOCATIONS), now)
        resource = checked_resource(SDS, name, secrets.roots(name, trusted.certificates, trusted.revoked))
        return resource, tuple(f"{key}: {fault}" for fault in trusted.faults)
    return checked_resource(SDS, name, secrets.certificate(name, *certificate_and_key(entries, (CERTIFICATE, KEY), now))), ()
