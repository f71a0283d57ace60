"""What a job has printed."""
