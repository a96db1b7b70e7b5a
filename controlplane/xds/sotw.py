"""The state-of-the-world protocol: a type has one version, and of listeners, clusters and rate limits a response says all that there is."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest

from controlplane.envoy.type_urls import CDS, ECDS, EDS, ISTIO_AGENT_TYPES, LDS, RATE_LIMIT_CONFIG, RDS
from controlplane.xds.base_stream import BaseStream, Written, subscribed
from controlplane.xds.channel import Channel
from controlplane.xds.events import Event
from controlplane.xds.ordering import Plan
from controlplane.xds.resource import Resource, digest, field, resource, unknown
from controlplane.xds.responses import sotw_response
from controlplane.xds.stream import Progress
from controlplane.xds.subscription import EVERYTHING
from controlplane.xds.view import version_of

# What a response of these types does not contain is deleted; of no other type can a deletion be told. A first request without names means
# everything of these, and of these alone: an empty request for secrets must not get them all (XP-24).
_WHOLE = (LDS, CDS, RATE_LIMIT_CONFIG)


class SotwStream(BaseStream):
    """One stream of a client that speaks the state of the world."""

    def receive(self, request: DiscoveryRequest) -> tuple[Event, ...]:
        """Take ``request`` in and return what it meant; raise BadRequest where it ends the stream.

        The names count whatever the nonce: a client says last what it wants last (XP-30).
        """
        type_url = self._type_of(request.type_url)
        self._ready = True
        names = {*request.resource_names, *(each.name for each in request.resource_locators)}
        channel = self._channels.get(type_url)
        if channel is None:
            channel = self._open(Channel(type_url, silent=type_url not in (*_WHOLE, EDS), has_unknown_state=bool(request.version_info)))
            if names:
                self._ask(channel, names)
                if channel.silent and channel.has_unknown_state:
                    channel.restore([unknown(type_url, name, "") for name in channel.client_resources])
            elif type_url in (*_WHOLE, *ISTIO_AGENT_TYPES):
                # Answered even if the client says that it has this version (XP-42): it may have kept parts of a later one that it refused.
                channel.begin_wildcard()
                channel.owe_answer()
                self._touch_all(channel)
            return (subscribed(channel),)
        events = self._accept_or_refuse(channel, request.response_nonce, request.error_detail if request.HasField("error_detail") else None)
        if self._ask(channel, names):
            events += (subscribed(channel),)
        return events

    def renew(self) -> None:
        """Do nothing: this client has nothing that it would drop."""

    def progress(self, resource: Resource) -> Progress:
        """Return how far the client has come with ``resource``; what it would have to drop by itself, it cannot be given."""
        progress = super().progress(resource)
        return Progress.REFUSED if resource.ttl_ms and progress is not Progress.UNNEEDED else progress

    def _lookup(self, channel: Channel) -> Callable[[str], Resource | None]:
        find = super()._lookup(channel)
        return (lambda name: _without_lease(find(name))) if channel.type_url == ECDS else find

    def _ask(self, channel: Channel, names: set[str]) -> bool:
        """Serve ``names`` from now on; return whether that is anything new."""
        added, dropped = channel.compare(names)
        if dropped:
            channel.unsubscribe(dropped)
        if added:
            channel.subscribe(added)
            if EVERYTHING in added:
                channel.owe_answer()
                self._touch_all(channel)
            channel.force([name for name in added if name != EVERYTHING])
        return bool(added or dropped)

    def _write(self, channel: Channel, plan: Plan, nonce: str) -> Written | None:
        type_url = channel.type_url
        if type_url in _WHOLE:
            resources = _whole(channel, plan)
            version = self._version(channel, plan, resources)
        else:
            # Envoy waits 15 s for endpoints that nobody mentions.
            resources = plan.send + [_no_endpoints(name) for name in plan.remove if name and type_url == EDS]
            in_step = not (self._part_trials if type_url == RDS else type_url == ECDS and self._replacements)
            version = self._view.version(type_url) if in_step else version_of(digest(resources))
            if not resources and not channel.must_answer:
                return None
        return Written(sotw_response(type_url, nonce, version, resources), version, len(resources))

    def _sent_with(self, channel: Channel, resources: list[Resource], removed: list[str]) -> None:
        # The whole says also what the client had before, and that is new to it where it kept something of a response that it refused.
        client_resources = channel.client_resources
        again = [before for name in channel.maybe_applied if (before := client_resources.get(name))]
        super()._sent_with(channel, resources + again, removed)

    def _version(self, channel: Channel, plan: Plan, resources: list[Resource]) -> str:
        in_step = channel.wildcard and not (plan.wait or plan.stay or channel.refused or channel.suspects)
        return self._view.version(channel.type_url) if in_step else version_of(digest(resources))


def _whole(channel: Channel, plan: Plan) -> list[Resource]:
    """Return what the client has once it has accepted ``plan``."""
    after = {**dict(channel.client_resources.items()), **{resource.name: resource for resource in plan.send}}
    for name in plan.remove:
        after.pop(name, None)
    return [resource for resource in after.values() if resource]


def _without_lease(published: Resource | None) -> Resource | None:
    """Return what there is of ``published`` for clients that cannot be told for how long: only Delta has that in its messages."""
    return published.fallback if published is not None and published.ttl_ms else published


@lru_cache(maxsize=1024)
def _no_endpoints(cluster: str) -> Resource:
    return resource(EDS, cluster, field(1, cluster.encode()))
