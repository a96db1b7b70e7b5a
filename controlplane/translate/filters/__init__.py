"""HTTP filters, one a file: each says where it stands in a chain, and what it makes of a route."""
