"""The page's colours by their variables, in light, in dark and on paper, without a browser."""

import re
from pathlib import Path

import pytest

from fdp_lightning.evaluation import report
from fdp_lightning.evaluation.charts import LINES, VARIABLES

TEMPLATE = "".join((Path(report.__file__).parent / name).read_text() for name in ("page.css", "report.css"))
PALETTES = [dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r":root \{([^}]*)\}", TEMPLATE)]


def channels(colour: str) -> list[float]:
    digits = colour.removeprefix("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    return [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]


def contrast(one: list[float], other: list[float]) -> float:
    """WCAG 2.2: (L1 + 0.05) / (L2 + 0.05) of the relative luminances."""
    low, high = sorted(
        sum(
            weight * (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4)
            for weight, v in zip((0.2126, 0.7152, 0.0722), colour, strict=True)
        )
        for colour in (one, other)
    )
    return (high + 0.05) / (low + 0.05)


def test_there_are_three_palettes_of_the_same_colours() -> None:
    assert len(PALETTES) == 3 and len({frozenset(palette) for palette in PALETTES}) == 1
    assert {variable.removeprefix("--") for variable in VARIABLES.values()} <= set(PALETTES[0])


@pytest.mark.parametrize("palette", PALETTES, ids=["light", "dark", "print"])
def test_text_and_drawings_stand_out(palette: dict[str, str]) -> None:
    for ground in ("page", "card", "warn"):
        for text in ("ink", "quiet", "accent", "second"):
            assert contrast(channels(palette[text]), channels(palette[ground])) >= 4.5, (text, ground)
    for colour, _ in LINES.values():
        drawn = channels(palette[VARIABLES[colour].removeprefix("--")])
        assert contrast(drawn, channels(palette["page"])) >= 3
    assert contrast(channels(palette["accent"]), channels(palette["line"])) >= 3  # a subject's bar in its track
    darkest = float(re.search(r"var\(--share\) \* (\d+)%", TEMPLATE)[1]) / 100  # type: ignore[index]
    cell = [
        darkest * a + (1 - darkest) * b
        for a, b in zip(channels(palette["accent"]), channels(palette["page"]), strict=True)
    ]
    assert contrast(channels(palette["ink"]), cell) >= 4.5
