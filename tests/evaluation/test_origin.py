"""Facts on the page: date, duration, hardware, model, parameters and steps."""

from pathlib import Path

from looks import printed
from random_runs import FOLD, write_run

from fdp_lightning.evaluation.origin import duration, made_with, trained, trained_facts, trained_line
from fdp_lightning.evaluation.report import build_report
from fdp_lightning.evaluation.runs import read_run
from fdp_lightning.evaluation.terminal import terminal_table


def test_durations_of_finished_folds_are_summed(tmp_path: Path) -> None:
    contents = {"01": '{"seconds": 59.7}', "02": '{"seconds": 3.46}', "03": "", "04": "[]", ".05.partial": "{}"}
    for name, content in contents.items():
        (tmp_path / "folds" / name).mkdir(parents=True)
        (tmp_path / "folds" / name / "fold.json").write_text(content)
    assert made_with(tmp_path, {}) == {"folds": "2 folds, 1 min 03 s in all, median 31.6 s"}
    assert [duration(seconds) for seconds in (59.96, 3599.6)] == ["1 min 00 s", "1 h 00 min"]  # never 60 s


LINE = "fdp_tiny, 90 123 parameters, 500 steps per fold"


def test_folds_of_one_model_are_described_once() -> None:
    assert trained([FOLD, FOLD]) == FOLD
    assert trained([FOLD, {**FOLD, "steps": 480}, FOLD])["steps"] == [480, 500]
    assert trained_line(trained_facts(FOLD)) == LINE
    assert "480–500 steps" in trained_line(trained_facts({**FOLD, "steps": [480, 500]}))
    older = {"fold": "01", "seconds": 3.0}  # facts that folds lack are omitted
    for folds in ([], [older], [FOLD, older], [FOLD, {**FOLD, "model": "fdp"}]):
        assert trained(folds) == {}
    assert trained_line(trained_facts({})) == ""


def test_terminal_and_report_name_the_model(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, more=FOLD))
    assert LINE in printed(terminal_table(run.metrics))
    page = build_report(run.folder, "a run", show_faces=False, synthetic=False).read_text().split("<main>")[0]
    assert all(f"<dd>{value}</dd>" in page for value in ("fdp_tiny", "90 123", "500"))
