"""The closed-form algebra of linear autoencoders (Gram matrix, ridge inverse, zero-diagonal lemma) and of graph filters."""
