"""Which filters of users' own there are, where they stand, what they run, and which modules are to be fetched for that."""
