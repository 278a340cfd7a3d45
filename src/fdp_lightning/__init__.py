"""fdp_lightning: facial micro-expression recognition by fine-grained dynamic perception (FDP)."""

__version__ = "0.1.0"
