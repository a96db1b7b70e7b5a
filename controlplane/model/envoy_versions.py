"""Which Envoys there are: which of them are supported, and what only some of them take, by the version that their nodes say.

Every Envoy says it, in ``user_agent_build_version``. Who does not is another client, written for what the newest Envoy is sent.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.model.problems import Severity


class EnvoyVersion(NamedTuple):
    """The version of an Envoy."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        """Return it as Envoy writes it."""
        return f"{self.major}.{self.minor}.{self.patch}"


OLDEST = EnvoyVersion(1, 36)  # that is supported, see docs/decisions/envoy-versions.md
NEWEST = EnvoyVersion(1, 40)  # that all tests run with

FIRST_WITH_FORMAT_TAGS = EnvoyVersion(1, 37)  # tags of spans by formats: before, it refuses the listener
_LAST_WITH_NEW_FORMATS = EnvoyVersion(1, 39)  # no later one knows more of formats than this: model/access_logs/formats.py
_FIRST_WITH_VHDS_BY_ADS = EnvoyVersion(1, 37)  # https://github.com/envoyproxy/envoy/pull/41996


# The first whose expressions can take a peer's certificate apart (`split`); from 1.39 on no label is empty, and what is idle is forgotten.
# https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/extensions/formatter/cel/v3/cel.proto
_FIRST_TO_COUNT_BY_LABELS = EnvoyVersion(1, 40)


class VersionConcern(NamedTuple):
    """What is to be said of proxies of a version: ``words`` go on from their names."""

    severity: Severity
    code: str
    words: str


def older_formats(version: EnvoyVersion | None) -> EnvoyVersion | None:
    """Return ``version``, without its patch, where such an Envoy knows less of formats than the newest; otherwise ``None``."""
    return None if version is None or version >= _LAST_WITH_NEW_FORMATS else EnvoyVersion(version.major, version.minor)


def takes_vhds(version: EnvoyVersion | None) -> bool:
    """Return whether an Envoy of ``version`` takes virtual hosts as resources of their own on ADS; before, it refuses their whole table."""
    return version is None or version >= _FIRST_WITH_VHDS_BY_ADS


def counts_by_labels(version: EnvoyVersion | None) -> bool:
    """Return whether an Envoy of ``version`` can count requests by labels; others refuse a listener that asks for it."""
    return version is None or version >= _FIRST_TO_COUNT_BY_LABELS


def counting_concern(version: EnvoyVersion | None) -> VersionConcern | None:
    """Return what is to be said of proxies of ``version`` where they are asked to count by labels; ``None``: they can."""
    if counts_by_labels(version):
        return None
    words = f"Envoy {version} has not what is needed for it, which came with {_release(_FIRST_TO_COUNT_BY_LABELS)}"
    return VersionConcern(Severity.WARNING, "NoMetrics", f"{words}: Istio's metrics are not counted there")


def concern(version: EnvoyVersion | None) -> VersionConcern | None:
    """Return what is to be said of proxies of ``version`` (``None``: they do not say which); ``None``: it is a supported one."""
    tried = f"supported are {_release(OLDEST)} to {_release(NEWEST)}"
    if version is None:
        words = f"its node has no user_agent_build_version: it gets what Envoy {_release(NEWEST)} gets; {tried}"
        return VersionConcern(Severity.WARNING, "UnknownEnvoy", words)
    if version < OLDEST:
        words = f"this is Envoy {version}, which may refuse what it gets; {tried}"
        return VersionConcern(Severity.WARNING, "OldEnvoy", words)
    if version[:2] > NEWEST[:2]:
        words = f"this is Envoy {version}, newer than any that was tried: it gets what {_release(NEWEST)} gets; {tried}"
        return VersionConcern(Severity.INFO, "NewEnvoy", words)
    return None


def _release(version: EnvoyVersion) -> str:
    return f"{version.major}.{version.minor}"
