"""Rules of AuthorizationPolicies as conditions of Envoy's RBAC filters, which are the same for requests and for connections."""
