"""Language models: their files, loading them, and what is read out of them. Nothing here knows of RecBole, users or items."""
