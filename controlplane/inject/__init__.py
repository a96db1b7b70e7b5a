"""What the API server asks before it stores something: the validating webhook, its certificate and its registration."""
