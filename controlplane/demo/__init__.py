"""``navarch demo``: a small mesh on this machine, workloads behind real Envoys, and a story whose claims are measured."""
