"""What is decided about a job: its states, its commands, the point it starts from, and what is kept."""
