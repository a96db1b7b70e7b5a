"""Experiments that were written for other tools, as drills."""
