"""A whole Penstock in this process: API, workers, Temporal, database, Flinks and gateways, in virtual time."""
