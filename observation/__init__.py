"""Seeing what clusters say: one question per cluster, whoever asks."""
