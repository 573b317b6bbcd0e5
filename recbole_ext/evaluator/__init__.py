"""Ranks, candidate lists and metrics on plain arrays: scores and positives in, numbers out."""
