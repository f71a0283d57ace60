"""A Flink session cluster: its REST API, its SQL gateway, its client, and what programs start on it."""
