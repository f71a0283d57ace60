"""Temporal task queues. The watch has one of its own, so that long activities never starve it."""

MAIN = "penstock"
BUILD = "penstock-build"
WATCH = "penstock-watch"
