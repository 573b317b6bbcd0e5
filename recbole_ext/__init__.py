"""A benchmark harness on RecBole that puts language-model recommenders beside collaborative filtering."""

__version__ = "0.1.0"
