"""SQL as a service: what stands between a script and Flink's gateway."""
