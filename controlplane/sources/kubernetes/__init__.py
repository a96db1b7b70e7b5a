"""The source ``kubernetes``: what the API server says, as Changes; beside each object what is to be said back about it."""
