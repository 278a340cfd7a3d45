"""A synthetic stand-in for CASME II and SAMM: subtle, labelled action-unit motion on a public photograph.

Nothing in it was recorded from a person showing an emotion. The files lie on disk as CASME II's (or SAMM's) do, and the
real adapter reads them, so that anyone can run the whole pipeline without a licence agreement.
"""

from fdp_lightning.data.synthetic.generator import GENERATOR_VERSION, SyntheticFaces

__all__ = ["GENERATOR_VERSION", "SyntheticFaces"]
