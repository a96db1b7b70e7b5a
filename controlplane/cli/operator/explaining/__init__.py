"""Commands that say what becomes of traffic, and why: by a running control plane, or by manifests alone."""
