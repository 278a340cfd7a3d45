"""When, how long and on what: the facts on the page."""

from pathlib import Path

from fdp_lightning.evaluation.origin import duration, made_with


def test_durations_never_show_sixty() -> None:
    texts = {
        0: "0.0 s",
        4.24: "4.2 s",
        59.96: "1 min 00 s",
        3599.4: "59 min 59 s",
        3599.6: "1 h 00 min",
    }
    assert {seconds: duration(seconds) for seconds in texts} == texts


def test_folds_give_their_sum_and_median_and_one_that_is_not_whole_gives_nothing(tmp_path: Path) -> None:
    seconds = {"01": "10}", "02": "100}", "03": "13.5}", "04": "", ".07.elsewhere.1.partial": "1000}"}
    for name, content in ({n: f'{{"seconds": {s}' for n, s in seconds.items()} | {"05": "{}", "06": "[]"}).items():
        (tmp_path / "folds" / name).mkdir(parents=True)
        (tmp_path / "folds" / name / "fold.json").write_text(content)
    assert made_with(tmp_path, {}) == {"folds": "3 folds, 2 min 04 s in all, median 13.5 s"}
