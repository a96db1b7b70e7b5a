"""Wires the rooms together: the only room that imports all others."""
