"""Loggers, and the values logged."""
