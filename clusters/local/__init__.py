"""Session clusters that run as processes on this machine, each with its keeper."""
