"""What becomes of traffic, of whom and why, in values: the simulation of a proxy's configuration, joined to what users wrote."""
