"""Classical recognisers, by scikit-learn: fitted on arrays of a fold's training clips, no network."""
