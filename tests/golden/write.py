"""``make golden``: writes what is made now into ``out.yaml`` of every case, and removes what belongs to no case."""

from __future__ import annotations

from tests.golden.cases import FOLDER, cases


def main() -> None:
    """Write, remove, and say what differed."""
    for case in cases():
        made = case.made()
        before = case.expected.read_text() if case.expected.exists() else ""
        if made != before:
            case.expected.write_text(made)
            print(f"written: {case.name}")
    for orphan in sorted(FOLDER.glob("*/out.yaml")):
        if not (orphan.parent / "in.yaml").exists():
            orphan.unlink()
            orphan.parent.rmdir()
            print(f"removed: {orphan.parent.name}")


if __name__ == "__main__":
    main()
