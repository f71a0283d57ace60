"""Pure rules and types. No I/O, no clock, no randomness: time and ids are arguments."""

__version__ = "0.1.0"
