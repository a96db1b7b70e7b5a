"""Queries over the database: services, effective policies, routes, scopes, and the resources made from them."""
