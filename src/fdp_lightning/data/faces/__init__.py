"""From recorded frames to aligned face clips."""
