"""Who may do what: policies, external authorizers, token issuers, credentials."""
