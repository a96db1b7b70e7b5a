"""The credentials of manifests that name them, looked at before anybody serves them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator

from controlplane.ca.certificates import BadCertificate
from controlplane.errors import InvalidResource
from controlplane.model.credentials import parse_credential
from controlplane.model.keys import Key
from controlplane.model.problems import Problem, Severity
from controlplane.objects.changes import CredentialChange
from controlplane.objects.kubernetes.secrets import AUTHORITY
from controlplane.serve.sds.credentials import credential_keys, credential_resource
from controlplane.serve.sds.secret_stores import FileSecrets


def written_credential_problems(
    named: Iterable[tuple[Key, str, str]], written: Iterable[CredentialChange], now: dt.datetime
) -> Iterator[Problem]:
    """Yield what is wrong with the credentials ``named`` (by which object, in which field, and as SDS has them) among those ``written``.

    Proxies are taken to be in the namespace of the object. One that is not there may be somewhere else.
    """
    store = FileSecrets()
    store.apply(written)
    for key, path, name in named:
        credential = parse_credential(name, key.namespace)
        for holder in credential_keys(credential) if credential else ():
            entries = store.entries(holder)
            if credential is None or entries is None or (credential.authority and entries.keys().isdisjoint(AUTHORITY)):
                continue
            try:
                _, faults = credential_resource(name, credential, (holder, entries), now)
            except (BadCertificate, InvalidResource) as error:
                faults = (f"{holder}: {error}",)
            yield from (Problem(key, path, Severity.WARNING, "BadCredential", fault) for fault in faults)
            break
