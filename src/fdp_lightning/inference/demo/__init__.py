"""Local web page of `task=demo`."""
