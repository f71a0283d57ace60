"""Clusters: the protocol that every kind speaks, an adapter for each kind, and where restore points lie as files."""
