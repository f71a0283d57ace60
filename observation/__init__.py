"""Seeing what clusters say: one question a cluster, whoever asks."""
