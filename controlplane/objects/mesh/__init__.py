"""The settings of the mesh: MeshConfig and its extension providers."""
