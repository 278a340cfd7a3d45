"""Loading: from stored clips to batches by sampling, augmentation and a DataModule."""
