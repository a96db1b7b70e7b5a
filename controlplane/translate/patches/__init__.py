"""Patches to Envoy's messages, after everything else is translated: where they apply, what they do, and whether the result is sound."""
