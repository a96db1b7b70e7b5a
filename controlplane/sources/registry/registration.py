"""What a registry says of a service, whichever registry it is: the value that all of them hand over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from controlplane.model.services import Labels


class NamedPort(NamedTuple):
    """A port that an instance listens at; its name says the protocol, and is empty where the instance has no other port."""

    name: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An instance of a service, as it is registered."""

    id: str  # unique among those of its service
    address: str  # an IP address or a DNS name
    ports: tuple[NamedPort, ...]
    origin: str  # where the registry has it, in the registry's words
    serving: bool = True  # its checks pass, so that it may be sent requests
    weight: int = 1  # 0: it is sent none
    labels: Labels = ()
    locality: str = ""  # "region/zone/subzone"
    account: str = ""  # it is in the mesh, and runs as this service account
    identity: str = ""  # it is in the mesh, and its certificate says this SPIFFE ID
    protocol: str = ""  # which it says that it speaks, where it does
    service_port: int = 0  # at which it says that clients address the service; 0: it does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A service, as it is registered: all its instances, also those that serve nothing."""

    name: str
    host: str  # by which clients address it
    instances: tuple[Instance, ...]  # sorted by id
    origin: str  # where the registry has it, in the registry's words
    protocol: str = "tcp"  # where its instances do not say another
    port: int = 0  # at which clients address it where its instances do not say it; 0: the one that most of them listen at
    remarks: tuple[str, ...] = ()  # what could not be read of it, in words
