"""`penstock`: start and stop the local stack, and everything the API can do, for a terminal."""
