"""Search over a model's parameters on validation."""
