"""What becomes of a request: its table, its virtual host, its route, and what the route does."""
