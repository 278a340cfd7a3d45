"""Ranking in time: the scorer, its losses, and the pooling by scores."""
