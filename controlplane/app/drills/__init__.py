"""Drills in a control plane: what they see of the mesh, and where they are asked for."""
