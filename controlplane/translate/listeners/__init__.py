"""Listeners: what a proxy listens on, and the chains of filters there."""
