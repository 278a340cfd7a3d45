"""Where the jobs of a multirun are run."""
