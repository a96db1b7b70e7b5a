"""Wires the rooms together: here, and only here, somebody knows everybody."""
