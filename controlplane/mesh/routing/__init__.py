"""Where requests go: VirtualServices, the scope of a Sidecar, route tables, virtual hosts."""
