"""Certificates and credentials as SDS resources, each only for whoever may have it."""
