"""Published recognisers on optical flow, one network per file, each with its published training recipe.

All are written from the descriptions in papers and public code; no code was copied. Shape letters are those of
`fdp_lightning.models`; maps are flow images b c h w, whose channels are set by each network's configuration.
"""
