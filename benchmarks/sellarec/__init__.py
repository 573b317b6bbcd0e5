"""Measurements behind docs/sella-rec.md."""
