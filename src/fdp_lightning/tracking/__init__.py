"""Loggers, and what they are given."""
