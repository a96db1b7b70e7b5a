"""Routes: virtual hosts, and what becomes of the requests in them."""
