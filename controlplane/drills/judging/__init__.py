"""What the figures of a run mean: what held, when it was noticed, when it was over, and why."""
