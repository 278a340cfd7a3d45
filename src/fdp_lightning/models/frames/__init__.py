"""Published recognisers on raw frames other than FDP, one per file."""
