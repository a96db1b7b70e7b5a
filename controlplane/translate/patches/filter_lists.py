"""Operations on a list of named filters: listener filters, network filters, HTTP filters."""

from __future__ import annotations

from collections.abc import Iterable, MutableSequence, Sequence
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from controlplane.envoy.patching.merging import merge
from controlplane.translate.patches.patch import EnvoyPatch, PatchOperation, PatchRefused


class NamedFilter(Protocol):
    """A filter, whatever its message is."""

    name: str


F = TypeVar("F", bound=NamedFilter)


def patched_filters(filters: Sequence[F], patch: EnvoyPatch, value: F, wanted: str, at: int) -> list[F] | None:
    """Return what ``patch``, whose value is ``value``, makes of ``filters``; ``None``: it is not for them.

    ``wanted`` is the filter that the patch names, if any; ``at`` the place where one is added that is to be put nowhere in particular.
    """
    found = [index for index, each in enumerate(filters) if each.name == wanted] if wanted else []
    if wanted and not found and patch.head.operation is not PatchOperation.ADD:
        return None
    changed = list(filters)
    match patch.head.operation:
        case PatchOperation.ADD:
            changed.insert(at, value)
        case PatchOperation.INSERT_FIRST:
            changed.insert(0, value)
        case PatchOperation.INSERT_BEFORE:
            changed.insert(found[0] if found else 0, value)
        case PatchOperation.INSERT_AFTER:
            changed.insert(found[-1] + 1 if found else at, value)
        case PatchOperation.REMOVE if wanted:
            return [each for each in filters if each.name != wanted]
        case PatchOperation.REPLACE if wanted:
            return [value if each.name == wanted else each for each in filters]
        case PatchOperation.MERGE | PatchOperation.MERGE_AND_REPLACE_LIST:
            return _merged(filters, patch, value, found or _same_name(filters, value))
        case _:
            raise PatchRefused(f"{patch.head.operation} has to say by match which filter is meant")
    return changed


def replace_items(items: MutableSequence[F], changed: Iterable[F]) -> None:
    """Put ``changed``, which may be some of them, in the place of ``items`` of a message."""
    copies = [_copy(each) for each in changed]
    del items[:]
    items.extend(copies)


def _same_name(filters: Sequence[F], value: F) -> list[int]:
    """Return where the filters are that have the name of ``value``: of a patch that names none by its match."""
    return [index for index, each in enumerate(filters) if value.name and each.name == value.name]


def _merged(filters: Sequence[F], patch: EnvoyPatch, value: F, found: Iterable[int]) -> list[F] | None:
    changed = list(filters)
    positions = list(found)
    for index in positions:
        merged = _copy(filters[index])
        if isinstance(merged, Message) and isinstance(value, Message):
            merge(merged, value, patch.cleared, replaces_lists=patch.head.operation is PatchOperation.MERGE_AND_REPLACE_LIST)
        changed[index] = merged
    return changed if positions else None


def _copy(message: F) -> F:
    copied = type(message)()
    if isinstance(copied, Message) and isinstance(message, Message):
        copied.CopyFrom(message)
    return copied
