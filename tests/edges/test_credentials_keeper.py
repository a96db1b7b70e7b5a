"""What becomes of a credential that a proxy has, when rights, references or Secrets change: by fakes of all that is asked."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Mapping

import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from controlplane.ca.certificates import authority
from controlplane.ca.leaf_certificates import LeafHolder
from controlplane.kube.reflector import ReflectorTiming
from controlplane.mesh.facts import CredentialVerdict
from controlplane.model.identity import Identity
from controlplane.model.keys import Key
from controlplane.objects.changes import Change, CredentialChange, split
from controlplane.objects.parse import parse
from controlplane.serve.sds.credentials import CredentialInputs, ReferredCredentials
from controlplane.serve.sds.secret_stores import FileSecrets, WatchedSecrets
from controlplane.untyped import Json
from controlplane.xds.resource import Resource
from tests.support.tls_secrets import DAY, pair, revocations, secret
from tests.support.waiting import DEADLINE_S, until

NAME = "kubernetes://shop"
SHOP = Key("Secret", "edge", "shop")
FRONT = LeafHolder(Identity("cluster.local", "edge", "front"), "router~10.0.0.1~front-1.edge~")


class Silent:
    """An API server that never answers."""

    async def get(self, path: str, **query: str) -> Json:
        del path, query
        await self.wait_until_reachable()
        return {}

    async def wait_until_reachable(self) -> None:
        await asyncio.Event().wait()

    async def lines(self, path: str, *, idle_s: float, **query: str) -> AsyncIterator[tuple[bytes, ...]]:
        del path, idle_s, query
        await self.wait_until_reachable()
        yield ()


class Around:
    """All that credentials depend on."""

    def __init__(self) -> None:
        self.shelf = FileSecrets()
        self.allowed: bool | None = True
        self.answers = asyncio.Event()  # until it is set, nobody knows rights
        self.answers.set()
        self.asked_about: list[Identity] = []
        self.referred: frozenset[str] = frozenset((NAME,))
        self.tables: dict[LeafHolder, dict[str, Resource]] = {}
        self.reasons: dict[str, tuple[tuple[str, str], ...]] = {}
        self.now = dt.datetime.now(dt.UTC)
        self.credentials = ReferredCredentials(
            CredentialInputs(
                stores=(self.shelf,),
                access=self,
                referred=lambda: self.referred,
                put=self._put,
                submit=self._tell,
                clock=lambda: self.now,
                recheck_s=0.01,
            )
        )

    async def may_read(self, who: Identity) -> bool | None:
        self.asked_about.append(who)
        await self.answers.wait()
        return self.allowed

    def give(self, value: dict[str, object]) -> None:
        """Have the Secret ``value`` in a file."""
        found = parse(value)
        assert found.key
        self.shelf.apply(split([Change(found.key, found.object)])[1])

    def has(self, holder: LeafHolder = FRONT) -> bool:
        return NAME in self.tables.get(holder, {})

    def served(self, name: str) -> Secret:
        return Secret.FromString(self.tables[FRONT][name].value)

    def _put(self, holder: LeafHolder, there: Mapping[str, Resource], gone: frozenset[str]) -> None:
        table = self.tables.setdefault(holder, {})
        table.update(there)
        for name in gone:
            table.pop(name, None)

    def _tell(self, verdict: CredentialVerdict) -> None:
        self.reasons[verdict.name] = tuple((fault.namespace, fault.reason) for fault in verdict.faults)


@pytest_asyncio.fixture
async def around() -> AsyncIterator[Around]:
    found = Around()
    found.give(secret(pair()))
    task = asyncio.create_task(found.credentials.run())
    yield found
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_t22_rights_are_asked_about_at_each_request_before_anything_is_looked_up(around: Around) -> None:
    await around.credentials.load(FRONT, [NAME])
    assert around.has()
    around.allowed = False

    await around.credentials.load(FRONT, [NAME])

    assert not around.has()
    assert around.reasons[NAME] == (("edge", "the service account front may not list Secrets there"),)


async def test_t22_one_that_has_it_does_not_warm_it_for_another(around: Around) -> None:
    other = LeafHolder(Identity("cluster.local", "edge", "curious"), "sidecar~10.0.0.2~curious-1.edge~")
    await around.credentials.load(FRONT, [NAME])
    around.allowed = False

    await around.credentials.load(other, [NAME])

    assert not around.has(other)
    assert around.asked_about[-1] == other.who


async def test_rights_that_are_taken_away_take_the_credential_away(around: Around) -> None:
    await around.credentials.load(FRONT, [NAME])
    around.allowed = False
    await until(lambda: not around.has())

    around.allowed = True
    await until(around.has)
    assert around.reasons[NAME] == ()


async def test_rights_that_cannot_be_known_leave_it_to_who_has_it_and_give_it_to_nobody_else(around: Around) -> None:
    other = LeafHolder(Identity("cluster.local", "edge", "second"), "router~10.0.0.3~second-1.edge~")
    await around.credentials.load(FRONT, [NAME])
    around.allowed = None

    await around.credentials.load(other, [NAME])
    asked = len(around.asked_about)
    await until(lambda: len(around.asked_about) > asked + 5)

    assert (around.has(), around.has(other)) == (True, False)


async def test_what_nothing_refers_to_any_more_is_taken_away_until_something_does_again(around: Around) -> None:
    await around.credentials.load(FRONT, [NAME])
    around.referred = frozenset()
    await until(lambda: not around.has())

    around.referred = frozenset((NAME,))

    await until(around.has)


async def test_a_certificate_that_expires_stays_and_is_told(around: Around) -> None:
    await around.credentials.load(FRONT, [NAME])

    around.now += dt.timedelta(days=2)

    await until(lambda: bool(around.reasons.get(NAME)))
    assert "the certificate has expired" in around.reasons[NAME][0][1]
    assert around.has()


async def test_a_secret_that_goes_takes_it_away_at_once(around: Around) -> None:
    await around.credentials.load(FRONT, [NAME])

    around.shelf.apply([CredentialChange(SHOP, None)])

    await until(lambda: not around.has())
    assert around.reasons[NAME] == (("edge", "there is no Secret shop there"),)


async def test_with_the_last_who_asked_goes_what_was_told(around: Around) -> None:
    around.shelf.apply([CredentialChange(SHOP, None)])
    await around.credentials.load(FRONT, [NAME])
    assert around.reasons[NAME]

    around.credentials.leave(FRONT)

    assert around.reasons[NAME] == ()
    assert around.credentials.counts() == {"held": 0, "unusable": 0}


async def test_who_goes_before_it_is_known_what_it_may_have_leaves_nothing_behind(around: Around) -> None:
    around.allowed = False
    around.answers.clear()
    asking = asyncio.create_task(around.credentials.load(FRONT, [NAME]))
    await until(lambda: bool(around.asked_about))

    around.credentials.leave(FRONT)
    around.answers.set()
    await asking

    assert around.reasons.get(NAME, ()) == ()
    assert around.credentials.counts() == {"held": 0, "unusable": 0}


async def test_who_waits_for_a_secret_that_is_watched_no_more_is_told_that_it_is_not_known() -> None:
    shelf = WatchedSecrets(Silent(), ReflectorTiming(), lambda: 0.5)
    running = asyncio.create_task(shelf.run())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(shelf.watch(SHOP))
    await asyncio.sleep(0)

    shelf.unwatch(SHOP)

    await asyncio.wait_for(waiting, DEADLINE_S)
    assert shelf.entries(SHOP) is None
    running.cancel()
    await asyncio.wait([running])


async def test_a_hundred_thousand_names_that_nothing_refers_to_cost_nothing(around: Around) -> None:
    await around.credentials.load(FRONT, [f"kubernetes://name-{number}" for number in range(100_000)])

    assert around.asked_about == []
    assert around.credentials.counts() == {"held": 0, "unusable": 0}


async def test_an_authority_that_cannot_be_read_leaves_the_others_trusted_and_is_told_by_its_place(around: Around) -> None:
    name = f"{NAME}-cacert"
    around.referred = frozenset((name,))
    good = pair().certificate.decode()
    broken = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmg\n-----END CERTIFICATE-----\n"
    around.give(secret(pair(), **{"ca.crt": good + broken + good}))

    await around.credentials.load(FRONT, [name])

    assert around.served(name).validation_context.trusted_ca.inline_bytes.count(b"BEGIN CERTIFICATE") == 2 * good.count("BEGIN CERTIFICATE")
    [(namespace, reason)] = around.reasons[name]
    assert namespace == "edge"
    assert f"certificate {good.count('BEGIN') + 1}, at line {good.count(chr(10)) + 1}, cannot be read" in reason
    assert around.credentials.counts() == {"held": 1, "unusable": 0}


async def test_what_an_authority_has_revoked_is_given_and_a_list_that_cannot_be_read_gives_nothing(around: Around) -> None:
    name = f"{NAME}-cacert"
    around.referred = frozenset((name,))
    issuer = authority("users", ec.generate_private_key(ec.SECP256R1()), around.now, DAY)
    lists = revocations(issuer, around.now)
    around.give(secret(pair(), **{"ca.crt": issuer.pem.decode(), "ca.crl": "nothing"}))

    await around.credentials.load(FRONT, [name])
    assert name not in around.tables.get(FRONT, {})
    assert "ca.crl: expected lists of revoked certificates" in around.reasons[name][0][1]

    around.give(secret(pair(), **{"ca.crt": issuer.pem.decode(), "ca.crl": lists.decode()}))
    await until(lambda: name in around.tables.get(FRONT, {}))
    assert around.served(name).validation_context.crl.inline_bytes == lists
    assert around.reasons[name] == ()
