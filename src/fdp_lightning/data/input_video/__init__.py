"""Input videos: a user's own video file or folder of frames."""
