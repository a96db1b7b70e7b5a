"""Whether texts, and the headers of a request, fit what Envoy's matchers ask of them."""
