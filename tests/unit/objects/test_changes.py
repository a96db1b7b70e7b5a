"""No Secret reaches the mesh: what a source says is divided by type before anything takes it in."""

from __future__ import annotations

import base64
from typing import assert_type

from controlplane.model.keys import Key
from controlplane.objects.changes import Change, CredentialChange, MeshChange, split
from controlplane.objects.kinds import CredentialObject, MeshObject
from controlplane.objects.kubernetes.core import Namespace
from controlplane.objects.kubernetes.secrets import ConfigMap, Secret
from controlplane.objects.mesh import mesh_config
from controlplane.objects.mesh.mesh_config import MeshConfig
from controlplane.objects.parse import parse


def change(kind: str, name: str, namespace: str = "edge", **content: object) -> Change:
    parsed = parse({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, **content})
    assert parsed.key
    assert parsed.object, parsed.problems
    return Change(parsed.key, parsed.object)


SECRET = change("Secret", "shop", data={"tls.key": base64.b64encode(b"a key").decode()})
AUTHORITY = change("ConfigMap", "shop-cacert", data={"ca.crt": "an authority"})
SETTINGS = change(
    "ConfigMap", mesh_config.MESH_CONFIG_KEY.name, mesh_config.MESH_CONFIG_KEY.namespace, data={"mesh": "accessLogFile: /dev/stdout"}
)
NAMESPACE = change("Namespace", "edge", "")


def test_secrets_and_config_maps_go_to_the_stores_of_credentials_and_everything_else_to_the_mesh() -> None:
    for_mesh, of_credentials = split([SECRET, NAMESPACE, AUTHORITY, SETTINGS])

    assert_type(for_mesh, tuple[MeshChange, ...])
    assert_type(of_credentials, tuple[CredentialChange, ...])
    assert [type(each.object) for each in of_credentials] == [Secret, ConfigMap]
    assert [type(each.object) for each in for_mesh] == [Namespace, MeshConfig]


def test_the_deletion_of_a_secret_or_config_map_goes_where_it_was_and_that_of_the_settings_to_the_mesh() -> None:
    keys = [SECRET.key, Key("Service", "edge", "shop"), AUTHORITY.key, mesh_config.MESH_CONFIG_KEY]

    for_mesh, of_credentials = split([Change(key, None) for key in keys])

    assert of_credentials == (CredentialChange(SECRET.key, None), CredentialChange(AUTHORITY.key, None))
    assert for_mesh == (MeshChange(Key("Service", "edge", "shop"), None), MeshChange(mesh_config.MESH_CONFIG_KEY, None))


def test_what_the_mesh_takes_has_no_room_for_a_secret() -> None:
    held = SECRET.object
    assert isinstance(held, Secret | ConfigMap)

    MeshChange(SECRET.key, held)  # type: ignore[arg-type]  # mypy warns of an ignore that it does not need, so this has to be an error

    assert not set(MeshObject.__args__) & set(CredentialObject.__args__)
