"""Trained models outside their runs: the model file, and predictions of input videos."""
