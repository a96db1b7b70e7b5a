"""Folders of manifests as a source: watched, read safely, and folded into changes."""
