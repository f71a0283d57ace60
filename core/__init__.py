"""Pure rules and types. No I/O, no clock, no randomness: time and ids are arguments."""
