"""The kinds of security.istio.io, and key sets of token issuers."""
