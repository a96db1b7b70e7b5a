"""Runs drills: puts faults into the mesh, reads what proxies count, and takes the faults out again whatever happens."""
