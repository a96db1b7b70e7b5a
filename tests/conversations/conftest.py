"""Every conversation is held to the table of transitions in ``xds/channel.py``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.xds_transitions import recorded


@pytest.fixture(autouse=True)
def _names_move_as_the_table_has_it() -> Iterator[None]:
    with recorded():
        yield
