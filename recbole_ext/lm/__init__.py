"""Parts that read the hidden states of a language model. Nothing here knows of RecBole."""
