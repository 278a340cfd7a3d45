"""Dynamic-image construction (DIC): encoder-decoders from the dynamic representation D to a dynamic image (P)."""
