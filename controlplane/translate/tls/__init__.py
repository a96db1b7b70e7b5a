"""TLS: within the mesh, at gateways, and the secrets of both."""
