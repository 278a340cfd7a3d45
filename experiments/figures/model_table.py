"""Measures parameters and forward FLOPs of the model's variants and prints them as a markdown table.

    python experiments/figures/model_table.py            # print
    python experiments/figures/model_table.py --write    # replace the table in src/fdp_lightning/models/README.md

FLOPs are those of one clip (8×1×64×64, five classes) in evaluation mode, by torch's FlopCounterMode, which counts a
multiply-add as 2, and convolutions, matrix products and attention only.
"""

import sys
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from fdp_lightning.config import configuration
from fdp_lightning.instantiate import build_model
from fdp_lightning.models.fdp.network import FDP

README = Path(__file__).resolve().parents[2] / "src" / "fdp_lightning" / "models" / "README.md"
BEGIN, END = "<!-- model table: written by experiments/figures/model_table.py -->", "<!-- end of the model table -->"
VARIANTS = {
    "`fdp`": ("model=fdp",),
    "`fdp_tiny`": ("model=fdp_tiny",),
    "`fdp_nextvit`": ("model=fdp_nextvit",),
    "`fdp_released`": ("model=fdp_released",),
    "`fdp`, `model/backbone=timm` (resnet18)": ("model=fdp", "model/backbone=timm"),
}
PARTS = {
    "backbone + head block": ("backbone", "head_block"),
    "scorers": ("scorers",),
    "pooling": ("pooling",),
    "MER head": ("mer_head",),
    "DIC head": ("dic_head",),
}
CLIP = (1, 8, 1, 64, 64)


def build(variant: str) -> FDP:
    """The variant at five classes."""
    torch.manual_seed(0)
    model: FDP = build_model(configuration(*VARIANTS[variant]), classes=5)
    return model.eval()


def parameters(model: FDP) -> list[int]:
    """Parameters of each of `PARTS`, and of the whole network."""
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    return [*(sum(counts.get(name, 0) for name in names) for names in PARTS.values()), sum(counts.values())]


def flops(model: FDP) -> int:
    """Of one forward pass of one clip."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(CLIP))
    return counter.get_total_flops()


def row(variant: str, model: FDP) -> str:
    """One row of the table; exact counts, GFLOP to the third decimal."""
    cells = [f"{count:,}" for count in parameters(model)]
    return f"| {variant} | {' | '.join(cells)} | {flops(model) / 1e9:.3f} |"


def table() -> str:
    """The whole table."""
    head = ["variant", *PARTS, "all", "GFLOP a clip"]
    return "\n".join(
        [f"| {' | '.join(head)} |", f"|---|{'--:|' * (len(head) - 1)}", *(row(v, build(v)) for v in VARIANTS)]
    )


if __name__ == "__main__":
    measured = table()
    print(measured)
    if "--write" in sys.argv[1:]:
        before, rest = README.read_text(encoding="utf-8").split(BEGIN)
        README.write_text(f"{before}{BEGIN}\n{measured}\n{END}{rest.split(END)[1]}", encoding="utf-8")
