"""Input stages: from the aligned frames of a clip to what a recogniser takes."""
