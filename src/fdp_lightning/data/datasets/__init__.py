"""One file per dataset, each on the base of `adapter.py`; the tidy clip table is all they hand on."""
