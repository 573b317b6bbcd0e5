"""Sparse autoencoders on user embeddings: what their neurons mean, and steering by them."""
