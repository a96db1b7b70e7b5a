"""Filters of the users' own: their places in chains, and what ECDS says of them."""
