"""When, how long and on what: the facts on the page."""

from pathlib import Path

import pytest

from fdp_lightning.evaluation.origin import duration, made_with


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"), (4.24, "4.2 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (200, "3 min 20 s"),
        (3599.4, "59 min 59 s"), (3599.6, "1 h 00 min"), (7500, "2 h 05 min"), (7199, "2 h 00 min"),
    ],
)  # fmt: skip
def test_durations_never_show_sixty(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_folds_give_their_sum_and_median_and_one_that_is_not_whole_gives_nothing(tmp_path: Path) -> None:
    for name, content in {
        "01": '{"seconds": 10}',
        "02": '{"seconds": 100}',
        "03": '{"seconds": 13.5}',
        "04": '{"seconds": ',
        "05": "{}",
        "06": "[]",
        ".07.elsewhere.1.partial": '{"seconds": 1000}',
    }.items():
        (tmp_path / "folds" / name).mkdir(parents=True)
        (tmp_path / "folds" / name / "fold.json").write_text(content)
    assert made_with(tmp_path, {}) == {"folds": "3 folds, 2 min 04 s in all, median 13.5 s"}
