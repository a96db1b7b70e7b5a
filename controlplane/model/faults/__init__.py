"""Faults that drills inject into the mesh: what they are, and within which limits they may be."""
