"""The table of Istio's kinds on docs/from-istio.md: how much of each has its effect, as docs/fields.md has it.

`python -m tests.support.fields.from_istio` writes it anew; `make fields` does so too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from controlplane.model.keys import GroupKind
from controlplane.objects.kinds import KINDS

DOCS = Path(__file__).parents[3] / "docs"
PAGE, FIELDS = DOCS / "from-istio.md", DOCS / "fields.md"
_BEGIN, _END = "<!-- of docs/fields.md: python -m tests.support.fields.from_istio -->\n", "<!-- end -->"
_ROW = re.compile(
    r"^\| (?P<kind>\w+) \| (?P<all>\d+) \| (?P<T>\d+) \| (?P<N>\d+) \| (?P<S>\d+) \| (?P<R>\d+) \| (?P<same>\d+) \|$", re.MULTILINE
)
_HEAD = """\
| kind | fields that are read | have their effect | have none, and a Problem says so | are refused | without use in Istio too |
|---|---|---|---|---|---|
"""


def table() -> str:
    """Return the table."""
    return _HEAD + "".join(_rows())


def written(page: str) -> str:
    """Return ``page`` with the table as it has to be."""
    before, _, rest = page.partition(_BEGIN)
    return f"{before}{_BEGIN}{table()}{_END}{rest.partition(_END)[2]}"


def _rows() -> Iterator[str]:
    found = {row["kind"]: row for row in _ROW.finditer(FIELDS.read_text())}
    of_istio = [*sorted(kind.kind for kind in KINDS if _is_of_istio(kind)), "MeshConfig"]
    for kind in of_istio:
        if (row := found.get(kind)) is not None:
            yield f"| [{kind}](fields.md#{kind.lower()}) | {row['all']} | {row['T']} | {row['N']} | {row['R']} | {row['same']} |\n"


def _is_of_istio(kind: GroupKind) -> bool:
    return kind.group.endswith(".istio.io")


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
