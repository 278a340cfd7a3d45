"""Classical recognisers without a network, fitted on arrays of a fold's training clips."""
