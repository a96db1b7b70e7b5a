"""The faults that drills inject: put into the mesh, renewed while they are wanted, and known to be in force."""
