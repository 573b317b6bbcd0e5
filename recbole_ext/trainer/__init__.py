"""Trainers that RecBole does not have."""
