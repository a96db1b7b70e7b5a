"""Which endpoints of a cluster may get a connection or a request."""
