"""Drills, without I/O: when what is broken, what the proxies counted meanwhile, and what is to be said of it."""
