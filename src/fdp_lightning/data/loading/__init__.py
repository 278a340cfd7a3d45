"""From stored clips to batches: sampling, augmentation, DataModule."""
