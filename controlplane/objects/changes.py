"""What a source says: an object is this now, or it is gone."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.keys import Key
from controlplane.objects.parse import Object


@dataclass(frozen=True, slots=True)
class Change:
    """The object ``key`` is ``object`` now; ``None`` means that it is gone."""

    key: Key
    object: Object | None
