"""The credentials that Gateways and DestinationRules name, for those proxies that may have them.

Who asks is looked at before anything is looked up: whose namespace it is, whether any object refers to it, whether the account may read
Secrets there. Only then it is read, checked, and put on the table of that proxy alone. It never enters the database; why one cannot be
used does.
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
from controlplane.ca.user_credentials import ca_certificates, certificate_and_key
from controlplane.envoy.type_urls import SDS
from controlplane.errors import InvalidResource
from controlplane.mesh.facts import CredentialVerdict
from controlplane.mesh.publish.encode import checked_resource
from controlplane.model.credentials import Credential, parse_credential
from controlplane.model.keys import CONFIG_MAP, SECRET, Key
from controlplane.objects.kubernetes.secrets import AUTHORITY, CERTIFICATE, KEY
from controlplane.serve.sds.access_review import SecretAccess
from controlplane.serve.sds.secret_stores import CredentialStore, Entries
from controlplane.translate.tls import secrets
from controlplane.xds.resource import Resource

log = logging.getLogger(__name__)

PATIENCE_S = (
    2.0  # that a stream waits: Envoy holds a listener back for 15 s where it is told nothing, and for none where it is told too soon
)
_LOOK_S = 1.0
_MAX_SHOWN = 300  # of a name that somebody asks for
_UNREFERRED = "nothing refers to it"


class _UnusableCredential(Exception):
    """A credential that its holder cannot have; the text is for whoever wrote the object that refers to it."""


class _CredentialUnavailable(_UnusableCredential):
    """It cannot be known, or what is there now cannot be used: who has an earlier one keeps it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialInputs:
    """What is asked, and told."""

    stores: Sequence[CredentialStore]  # the first that has something counts
    rights: SecretAccess
    referred: Callable[[], frozenset[str]]
    put: Callable[[LeafHolder, Mapping[str, Resource], frozenset[str]], None]  # what is there for a holder, and which names are not
    tell: Callable[[CredentialVerdict], None]
    clock: Callable[[], dt.datetime]
    again_s: float = 30.0  # after which all is looked at again: rights that were taken away, certificates that expire


class ReferredCredentials:
    """Keeps the credentials of all proxies that have asked for some."""

    def __init__(self, world: CredentialInputs) -> None:
        """Keep them by ``world``."""
        self._world = world
        self._asked: dict[LeafHolder, dict[str, Credential]] = {}
        self._reasons: dict[tuple[str, str], dict[LeafHolder, str | None]] = defaultdict(dict)  # by SDS name and namespace: None: it has it
        self._changed: set[Key] = set()
        self._news = asyncio.Event()
        for each in world.stores:
            each.on_change(self._note)

    async def ask(self, holder: LeafHolder, names: Iterable[str]) -> None:
        """Have on the table of ``holder`` what it may have of ``names``, and nothing else of them, before they are answered."""
        named = {name: each for name in names if (each := parse_credential(name, holder.who.namespace))}
        found = {name: named[name] for name in named.keys() & self._referred(named)}
        if foreign := sorted(named.keys() - found.keys()):
            facts = {"identity": holder.who.uri, "credential": foreign[0][:_MAX_SHOWN], "names": len(foreign)}
            log.warning("credential not given", extra={**facts, "reason": _UNREFERRED})
        if not found:
            return
        self._asked.setdefault(holder, {}).update(found)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._settle(holder, found)
        except TimeoutError:
            log.warning("credential not known yet", extra={"identity": holder.who.uri})
            self._changed.update(key for each in found.values() for key in _keys(each))
            self._news.set()

    def leave(self, holder: LeafHolder) -> None:
        """Forget what ``holder`` asked for."""
        for name, each in self._asked.pop(holder, {}).items():
            self._say(name, holder, each.namespace, None, gone=True)
            self._drop(each)

    def counts(self) -> dict[str, int]:
        """Return how many credentials are held and how many are unusable, a proxy and a name each."""
        found = [reason is None for reasons in self._reasons.values() for reason in reasons.values()]
        return {"held": sum(found), "unusable": len(found) - sum(found)}

    async def run(self) -> None:
        """Hand on what has changed, and look again now and then, until cancelled."""
        seen, all_at = frozenset[str](), 0.0
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._news.wait()
            self._news.clear()
            changed, self._changed = self._changed, set()
            referred = self._world.referred()
            everything = loop.time() >= all_at
            try:
                await self._again(changed, referred ^ seen, everything=everything)
            except Exception:  # ours; the next round begins anew
                log.exception("credentials failed")
            seen, all_at = referred, loop.time() + self._world.again_s if everything else all_at

    def _note(self, key: Key) -> None:
        self._changed.add(key)
        self._news.set()

    def _referred(self, names: Iterable[str]) -> frozenset[str]:
        """Return the names that objects refer to, where one of ``names`` is asked about at all."""
        return self._world.referred() if names else frozenset()

    async def _again(self, changed: set[Key], names: frozenset[str], *, everything: bool) -> None:
        """Settle what depends on ``changed``, and what is called by ``names``; or ``everything``."""
        for holder, asked in tuple(self._asked.items()):
            found = {name: each for name, each in asked.items() if everything or name in names or not changed.isdisjoint(_keys(each))}
            if found:
                await self._settle(holder, found)

    async def _settle(self, holder: LeafHolder, asked: Mapping[str, Credential]) -> None:
        await self._world.rights.may_read(holder.who)  # once, before all ask at once
        await asyncio.gather(*(self._settle_one(holder, name, each) for name, each in asked.items()))

    async def _settle_one(self, holder: LeafHolder, name: str, asked: Credential) -> None:
        try:
            resource = await self._resource(holder, name, asked)
        except _UnusableCredential as error:
            if name not in self._asked.get(holder, ()):
                return  # it has gone meanwhile
            if self._reasons.get((name, asked.namespace), {}).get(holder) != str(error):
                log.warning("credential not given", extra={"identity": holder.who.uri, "credential": name, "reason": str(error)})
            if not isinstance(error, _CredentialUnavailable):
                self._world.put(holder, {}, frozenset((name,)))
            self._say(name, holder, asked.namespace, str(error))
            return
        if name in self._asked.get(holder, ()):
            self._world.put(holder, {name: resource}, frozenset())
            self._say(name, holder, asked.namespace, None)

    async def _resource(self, holder: LeafHolder, name: str, asked: Credential) -> Resource:
        if name not in self._world.referred():
            self._drop(asked)
            raise _UnusableCredential(_UNREFERRED)
        if asked.namespace != holder.who.namespace:
            raise _UnusableCredential(f"it is of the namespace {asked.namespace}")
        allowed = await self._world.rights.may_read(holder.who)
        if allowed is None:
            raise _CredentialUnavailable("the API server cannot be asked whether the service account may read Secrets")
        if not allowed:
            raise _UnusableCredential(f"the service account {holder.who.service_account} may not list Secrets there")
        now = self._world.clock()
        try:
            entries = await self._entries(asked)
            if asked.authority:
                return checked_resource(SDS, name, secrets.roots(name, ca_certificates(entries, AUTHORITY, now)))
            return checked_resource(SDS, name, secrets.certificate(name, *certificate_and_key(entries, (CERTIFICATE, KEY), now)))
        except (BadCertificate, InvalidResource) as error:
            raise _CredentialUnavailable(str(error)) from error

    async def _entries(self, asked: Credential) -> Entries:
        """Return what the first Secret has that ``asked`` may mean; raises _Unusable where there is none."""
        wanted = frozenset(AUTHORITY if asked.authority else (*CERTIFICATE, *KEY))
        reasons: list[str] = []
        some: Entries | None = None
        for key in _keys(asked):
            for store in self._world.stores:
                await store.follow(key)
                entries = store.entries(key)
                if entries is not None and not wanted.isdisjoint(entries):
                    return entries
                some = entries if some is None else some
                if trouble := store.trouble(key):
                    reasons.append(f"{key} cannot be read: {trouble}")
        if some is not None:
            return some
        if reasons:
            raise _CredentialUnavailable(reasons[0])
        raise _UnusableCredential(f"there is no {_keys(asked)[-1 if asked.authority else 0].kind} {asked.name} there")

    def _drop(self, gone: Credential) -> None:
        referred = self._world.referred()
        used = {key for asked in self._asked.values() for name, each in asked.items() if name in referred for key in _keys(each)}
        for key in _keys(gone):
            if key not in used:
                for store in self._world.stores:
                    store.drop(key)

    def _say(self, name: str, holder: LeafHolder, namespace: str, reason: str | None, *, gone: bool = False) -> None:
        """Note why ``holder`` has the credential ``name`` not, and tell what has become another by it."""
        before = tuple(self._told(name))
        of = self._reasons[name, namespace]
        if gone:
            of.pop(holder, None)
        else:
            of[holder] = reason
        if not of:
            del self._reasons[name, namespace]
        after = tuple(self._told(name))
        if after != before:
            self._world.tell(CredentialVerdict(name, after))

    def _told(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield the namespaces where nobody who asked has the credential ``name``, and why."""
        for (other, namespace), reasons in sorted(self._reasons.items()):
            found = [each for each in reasons.values() if each is not None]
            if other == name and found and len(found) == len(reasons):
                yield namespace, min(found)


def _keys(asked: Credential) -> tuple[Key, ...]:
    """Return the objects that ``asked`` may mean, the first that has it counts."""
    if not asked.authority:
        return (SECRET.key(asked.namespace, asked.name),)
    names = (f"{asked.name}-cacert", asked.name)
    return tuple(kind.key(asked.namespace, name) for kind in (SECRET, CONFIG_MAP) for name in names)
