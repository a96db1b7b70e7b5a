"""Assembles what is fetched on behalf of users."""
