"""Measurements behind docs/saulrec.md."""
