"""The Kubernetes client: transport, list and watch, apply, leases, token review. Empty until Kubernetes is a source."""
