"""What a cluster needs to run a control plane, as objects: those of ``manifests/overlays``, with what an installation may choose."""
