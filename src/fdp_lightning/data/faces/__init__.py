"""Face detection and alignment: from recorded frames to aligned clips."""
