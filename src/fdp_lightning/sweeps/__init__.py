"""Multiruns: their variants, launchers and table."""
