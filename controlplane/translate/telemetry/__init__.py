"""What is told of requests and connections: access logs and traces, as messages that stand in listeners and their filters."""
