"""Istio's certificate signing service."""
