"""Hyperparameter search with inner subjects (`task=tune`)."""
