"""Input stages: from the aligned frames of a clip to a recogniser's input."""
