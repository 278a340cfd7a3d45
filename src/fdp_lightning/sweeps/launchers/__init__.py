"""Launchers of a multirun's jobs."""
