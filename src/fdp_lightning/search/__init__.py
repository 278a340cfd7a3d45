"""Hyperparameter search scored on inner validation subjects (`task=tune`)."""
