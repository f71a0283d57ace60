"""Speaking to Temporal: a client, and commands that are brought to job workflows."""
