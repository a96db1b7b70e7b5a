"""What an ingress gateway gets: servers merged from Gateways, route tables, listeners."""
