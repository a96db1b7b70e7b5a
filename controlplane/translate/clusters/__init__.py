"""Clusters: what a proxy connects to, their endpoints, and what is held to on the way."""
