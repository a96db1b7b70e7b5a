"""What is wrong with the documents of a source, as one tuple."""

from __future__ import annotations

from controlplane.objects.locations import LocatedProblem, Locations


def document_problems(locations: Locations) -> tuple[LocatedProblem, ...]:
    """Return what is wrong with all documents of ``locations``."""
    return tuple(located for of_document in locations.problems_by_document() for located in of_document)
