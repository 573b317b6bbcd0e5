"""Sparse autoencoders over user embeddings: their codes, what their neurons mean, and steering by them."""
