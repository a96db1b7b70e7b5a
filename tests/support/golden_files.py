"""``make golden``: writes what is made now into ``out.yaml`` of every case, and removes what belongs to no case."""

from __future__ import annotations

from tests.support import inject_cases as injection
from tests.support import translate_cases as golden


def main() -> None:
    """Write, remove, and say what differed."""
    found: list[golden.Case | injection.Case] = [*golden.cases(), *injection.cases()]
    for case in found:
        made = case.made()
        before = case.expected.read_text() if case.expected.exists() else ""
        if made != before:
            case.expected.write_text(made)
            print(f"written: {case.name}")
    for orphan in sorted(path for folder in (golden.FOLDER, injection.FOLDER) for path in folder.glob("*/out.yaml")):
        if not (orphan.parent / "in.yaml").exists():
            orphan.unlink()
            orphan.parent.rmdir()
            print(f"removed: {orphan.parent.name}")


if __name__ == "__main__":
    main()
