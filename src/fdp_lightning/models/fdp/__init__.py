"""FDP, fine-grained dynamic perception, from the clip to the logits and the dynamic image.

Provenance: Shao, Cheng, Zhang, Shi, Li, Ma and Yeung, "Micro-Expression Recognition via Fine-Grained Dynamic
Perception", arXiv 2509.06015, ACM TOMM 2025. Start with network.py; its parts are in the other files of this folder.

Shape letters:
    b clips · t u frames, T of them · n = b·t frames in one batch · c d channels · h w image or map · p places, h·w
    k classes or action units
Sources, marked where a reader may ask: P the paper · R the authors' released code · O ours, because neither fixes it.
"""
