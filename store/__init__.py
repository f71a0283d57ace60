"""Tables and all queries; secrets at rest. A query is a function that takes a session; who opens it commits it."""
