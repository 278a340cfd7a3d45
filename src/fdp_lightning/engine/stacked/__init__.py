"""Several folds trained at once on one device (`loso.engine=stacked`)."""
