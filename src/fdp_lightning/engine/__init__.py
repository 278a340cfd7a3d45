"""Train the folds of a run: plan, processes, outputs."""
