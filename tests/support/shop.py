"""The small shop of docs/explain.md: a client, two versions of a service with weights, policies, and mutual TLS asked for."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "examples" / "explain"
SHOP = (FOLDER / "shop.yaml").read_text()
CHANGED = (FOLDER / "changed.yaml").read_text()
