"""Sparse autoencoders of dense representations, what their neurons mean, and steering by them."""
