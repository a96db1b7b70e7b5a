"""``make fields``: writes docs/fields.md, what comes of each field that is read; and prints how many there are of each letter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.support.fields.audit import Audit, is_of_metadata
from tests.support.fields.leaves import KindOfObject, kinds
from tests.support.fields.verdicts import MEANINGS, Letter, Verdict
from tests.support.fields.world import World

PAGE = Path(__file__).parents[3] / "docs" / "fields.md"
# What does not count as a field without effect: kinds that have none as a whole, the settings of the mesh, and metadata.
_APART = ("WasmPlugin", "TrafficExtension", "MeshConfig", "labels and annotations")
_HEAD = """\
# What comes of each field

Each field of each kind is set alone, in a mesh of sidecars, a gateway and a machine outside Kubernetes, and what all of them are sent is
compared: listeners, routes, clusters, endpoints, the names of secrets, what is put into pods, how health is checked, and which keys of
issuers are fetched. `make fields` writes this page; a test compares it with what is found.

"""
_LEGEND = """
`[]` stands for the items of a list, `{}` for the entries of a map. Of a choice all alternatives are one field; those that come to less than
the others are told in its row. Any other field of Istio's kinds, and of MeshConfig, gives the warning `UnknownField` or `NotTranslated`.

T does not say that a field means all that it means in Istio: that is what the other tests are for.
"""


@cache
def verdicts(kind: KindOfObject) -> Sequence[Verdict]:
    """Return what comes of the leaves of ``kind``."""
    audit = Audit(kind, World())
    found = tuple(audit.verdicts())
    assert audit.leaves_no_trace(), kind.name
    return found


def sums(rows: Iterable[tuple[str, str, str]]) -> Mapping[str, Counter[str]]:
    """Return how many of ``rows`` (kind, field, letter) have each letter, by kind; labels and annotations of all kinds together."""
    letters: dict[str, Counter[str]] = {}
    of_metadata: Counter[str] = Counter()
    for kind, path, letter in rows:
        counts = letters.setdefault(kind, Counter())
        (of_metadata if is_of_metadata(path) else counts)[letter] += 1
    return {**{kind: counts for kind, counts in letters.items() if counts}, "labels and annotations": of_metadata}


def section(kind: str, found: Iterable[Verdict]) -> str:
    """Return the part of the page that is about ``kind``."""
    rows = [f"| `{verdict.path}` | {verdict.letter} | {_cell(verdict.said)} |" for verdict in found]
    return "\n".join((f"## {kind}", "", "| field | | |", "|---|---|---|", *rows, ""))


def counted(letters: Mapping[str, Counter[str]]) -> str:
    """Return the table of how many leaves of each kind have each letter."""
    columns = tuple(MEANINGS)
    everything = {**letters, "all": sum(letters.values(), Counter())}
    rows = (f"| {kind} | {each.total()} | {' | '.join(str(each[letter]) for letter in columns)} |" for kind, each in everything.items())
    return "\n".join((f"| | leaves | {' | '.join(columns)} |", f"|---|{'---|' * (len(columns) + 1)}", *rows))


def head(letters: Mapping[str, Counter[str]]) -> str:
    """Return how the page begins: its sums, and what its letters mean."""
    meanings = "".join(f"- **{letter}**: {meaning}.\n" for letter, meaning in MEANINGS.items())
    return f"{_HEAD}{meanings}\n{counted(letters)}\n{_LEGEND}"


def without_effect(letters: Mapping[str, Counter[str]]) -> int:
    """Return how many fields come to nothing, as a Problem says, outside MeshConfig and the kinds of telemetry and extensions."""
    return sum(counts[Letter.WARNED] for kind, counts in letters.items() if kind not in _APART)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write the page, and print its sums."""
    found = {kind.name: verdicts(kind) for kind in kinds()}
    letters = sums((kind, verdict.path, verdict.letter) for kind, of_kind in found.items() for verdict in of_kind)
    PAGE.write_text("\n".join((head(letters), *(section(kind, of_kind) for kind, of_kind in found.items()))))
    print(counted(letters))
    print(f"without effect, outside MeshConfig and the kinds of telemetry and extensions: {without_effect(letters)}")


if __name__ == "__main__":
    main()
