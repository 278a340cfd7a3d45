"""Clips, subjects and files: annotations → protocol → faces → store → DataModule. Knows no model."""
