"""One file per dataset, each a subclass of `adapter.FaceDataset` that returns the tidy clip table."""
