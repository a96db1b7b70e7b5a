"""The commands of `navarch drill`."""
