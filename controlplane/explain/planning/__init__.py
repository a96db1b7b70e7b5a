"""What a change would do before it is applied: to proxies and their resources, to connections, to requests, to Problems."""
