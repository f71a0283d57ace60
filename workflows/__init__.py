"""One file a workflow. Deterministic and thin: rules are in `core`, effects in `activities`."""
