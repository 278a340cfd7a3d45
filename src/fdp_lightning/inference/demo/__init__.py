"""The local web page of `task=demo`."""
