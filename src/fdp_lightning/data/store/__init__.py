"""The clip store: aligned frames on disk, built clip by clip, checked by checksum."""
