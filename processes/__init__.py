"""Processes on this machine: what they are started with, known by, and stopped as."""
