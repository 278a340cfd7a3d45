"""A user's own video or folder of frames."""
