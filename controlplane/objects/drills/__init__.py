"""Drills: what stays true of a service while something is broken on purpose."""
