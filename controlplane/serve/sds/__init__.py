"""Certificates and credentials as SDS resources, each only for the proxies that may have it."""
