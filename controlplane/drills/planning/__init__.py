"""What a drill is to do: its faults, what is measured, whether it may run, and how far a run is."""
