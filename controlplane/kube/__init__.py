"""The Kubernetes client: access and transport, list and watch, writes, leases. It knows nothing of meshes."""
