"""Tables and all queries. A query is a function that takes a session; who opens the session commits it."""
