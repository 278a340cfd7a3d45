"""Published recognisers on optical flow, one network a file, each with the training recipe it was published with.

They are written after their papers' and public code's descriptions; no code was taken over. Shape letters are those of
`fdp_lightning.models`; maps are flow images b c h w whose channels each network names in its recipe.
"""
