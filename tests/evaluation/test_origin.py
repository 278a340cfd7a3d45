"""Facts on the page: date, duration, hardware, model, parameters and steps."""

from pathlib import Path

from looks import printed
from random_runs import FOLD, write_run

from fdp_lightning.evaluation.origin import duration, made_with, trained, trained_facts, trained_line
from fdp_lightning.evaluation.report import build_report
from fdp_lightning.evaluation.runs import read_run
from fdp_lightning.evaluation.terminal import terminal_table


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


LINE = "fdp_tiny, 90 123 parameters, 500 steps per fold"


def test_folds_of_one_model_say_it_once() -> None:
    assert trained([FOLD, FOLD]) == FOLD
    assert trained([FOLD, {**FOLD, "steps": 480}, FOLD])["steps"] == [480, 500]
    assert trained_line(trained_facts(FOLD)) == LINE
    assert "480–500 steps" in trained_line(trained_facts({**FOLD, "steps": [480, 500]}))
    older = {"fold": "01", "seconds": 3.0}  # facts that folds lack are omitted
    for folds in ([], [older], [FOLD, older], [FOLD, {**FOLD, "model": "fdp"}]):
        assert trained(folds) == {}
    assert trained_line(trained_facts({})) == ""


def test_terminal_and_report_name_the_model(tmp_path: Path) -> None:
    run, older = (read_run(write_run(tmp_path / str(len(facts)), more=facts)) for facts in (FOLD, {}))
    assert LINE in printed(terminal_table(run.metrics)) and "parameters" not in printed(terminal_table(older.metrics))
    changed = "fdp_tiny with stages=[early, late]"  # part of the name, not markup
    assert changed in printed(terminal_table({**run.metrics, "model": changed}))
    page, older_page = (
        build_report(one.folder, "a run", show_faces=False, synthetic=False).read_text().split("<main>")[0]
        for one in (run, older)
    )
    assert all(f"<dd>{value}</dd>" in page for value in ("fdp_tiny", "90 123", "500")) and "FDP" not in page
    assert "parameters" not in older_page
