"""A synthetic stand-in for CASME II and SAMM: subtle, labelled action-unit motion on a public photograph.

Nothing in it was recorded from a person showing an emotion. The files have the layout of CASME II (or SAMM) and are
read by its real adapter, so that anyone can run the whole pipeline without a licence agreement.
"""

from fdp_lightning.data.synthetic.generator import GENERATOR_VERSION, SyntheticFaces

__all__ = ["GENERATOR_VERSION", "SyntheticFaces"]
