"""Datasets: files, filters, splits, fingerprints."""
