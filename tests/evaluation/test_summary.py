import io
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from random_runs import CLASSES, make_predictions
from rich.console import Console
from sklearn.metrics import f1_score

from fdp_lightning.evaluation.counts import score_functions
from fdp_lightning.evaluation.metrics import confusion
from fdp_lightning.evaluation.predictions import read_predictions, write_predictions
from fdp_lightning.evaluation.summary import chance, floors, summarise, write_metrics
from fdp_lightning.evaluation.terminal import terminal_table


def test_metrics_are_standard_json_and_predictions_alone_give_them_again(tmp_path: Path) -> None:
    table = make_predictions(selections=("last", "inner", "oracle"))
    metrics = summarise(table, CLASSES, "casme2_5c_246", ["024"])
    write_metrics(tmp_path / "metrics.json", metrics)
    write_predictions(tmp_path / "predictions.csv", table, CLASSES)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)
    assert read == metrics == summarise(*read_predictions(tmp_path / "predictions.csv"), "casme2_5c_246", ["024"])
    facts = "protocol split multi_label classes n_clips n_subjects skipped_folds untested left_out caveats"
    assert list(read) == [*facts.split(), "selections", "optimism_gap", "floors"]
    assert read["multi_label"] is False
    assert (read["n_clips"], read["n_subjects"]) == (60, 6)
    assert list(read["selections"]) == ["last", "inner", "oracle"]
    scores = ["accuracy", "uf1", "uar", "weighted_f1", "auc", "ece"]
    assert list(read["selections"]["last"]) == [*scores, "ci95", "confusion"]


def test_scores_are_pooled_not_averaged_over_folds() -> None:
    table = make_predictions(balanced=False)
    last = table[table["selection"] == "last"]
    score = summarise(table, CLASSES, "p", [])["selections"]["last"]["uf1"]
    pooled = f1_score(last["target"], last["prediction"], labels=CLASSES, average="macro", zero_division=0)
    folds = [
        f1_score(part["target"], part["prediction"], labels=CLASSES, average="macro", zero_division=0)
        for _, part in last.groupby("fold")
    ]
    assert score == pytest.approx(pooled)
    assert abs(score - np.mean(folds)) > 0.02


def test_gap_is_oracle_minus_last() -> None:
    metrics = summarise(make_predictions(), CLASSES, "p", [])
    rows = metrics["selections"]
    for name in ("accuracy", "uf1", "uar", "weighted_f1"):
        assert metrics["optimism_gap"][name] == rows["oracle"][name] - rows["last"][name]
    assert "inner" not in rows


def test_selections_of_different_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="same clips"):
        summarise(make_predictions().iloc[:-1], CLASSES, "p", [])
    with pytest.raises(ValueError, match="'last'"):
        summarise(make_predictions(selections=("oracle",)), CLASSES, "p", [])


def test_single_subject_is_null_in_json(tmp_path: Path) -> None:
    metrics = summarise(make_predictions(subjects=1), CLASSES, "p", [])
    write_metrics(tmp_path / "m.json", metrics)
    assert json.loads((tmp_path / "m.json").read_text())["selections"]["last"]["ci95"]["uf1"] is None


def test_nan_never_reaches_the_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_metrics(tmp_path / "m.json", {"uf1": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("counts", "share"), [((32, 63, 27, 28, 99), 0.398), ((57, 26, 26, 15, 12), 0.419)])
def test_majority_floor_is_the_known_one(counts: tuple[int, ...], share: float) -> None:
    """CASME II and SAMM, five classes: the floors of the evaluation rules."""
    names = [f"class {place}" for place in range(5)]
    majority = floors(np.array(counts), names)["majority"]
    assert majority["class"] == names[int(np.argmax(counts))]
    assert majority["accuracy"] == pytest.approx(share, abs=5e-4)
    assert majority["uar"] == pytest.approx(0.2)
    assert majority["uf1"] == pytest.approx(2 * share / (1 + share) / 5, abs=5e-4)


@pytest.mark.parametrize("counts", [(1, 2, 4), (0, 3, 3), (6, 1)])
def test_chance_is_the_mean_of_all_guesses(counts: tuple[int, ...]) -> None:
    target = np.repeat(np.arange(len(counts)), counts)
    guesses = product(range(len(counts)), repeat=len(target))
    matrices = np.stack([confusion(target, np.array(guess), len(counts)) for guess in guesses])
    assert chance(np.array(counts)) == pytest.approx(
        {n: score(matrices).mean() for n, score in score_functions(False).items()}
    )


def test_terminal_table_names_every_row() -> None:
    metrics = summarise(make_predictions(selections=("last", "inner", "oracle")), CLASSES, "casme2_5c_246", ["024"])
    stream = io.StringIO()
    Console(file=stream, width=80).print(terminal_table(metrics))
    text = stream.getvalue()
    for word in (
        "last",
        "inner",
        "oracle",
        "not comparable",
        "majority (happiness)",
        "chance",
        "024",
        "casme2_5c_246",
    ):
        assert word in text
    low, high = metrics["selections"]["last"]["ci95"]["uf1"]
    assert f"{metrics['selections']['last']['uf1']:.3f}" in text
    assert f"{low:.3f}–{high:.3f}" in text
    assert f"{metrics['optimism_gap']['uf1']:+.3f}" in text
    assert max(map(len, text.splitlines())) <= 80


def test_terminal_table_begins_with_the_headline_and_oracle_stays_not_comparable() -> None:
    table = make_predictions(selections=("last", "inner", "oracle"))
    left_out = {"data.sampling.rule=floor, fewer than 8 frames": [f"01/EP{i:02d}" for i in range(9)]}
    metrics = summarise(table, CLASSES, "p", [], ["18"], left_out)
    rows = {}
    for headline in ("last", "oracle"):
        stream = io.StringIO()
        Console(file=stream, width=80).print(terminal_table(metrics, headline))
        lines = stream.getvalue().splitlines()
        rows[headline] = [line.split()[0] for line in lines if line.split()[0] in metrics["selections"]]
        (oracle,) = (place for place, line in enumerate(lines) if line.startswith(" oracle"))
        assert "not comparable, gap" in lines[oracle + 1]
        assert f"{metrics['optimism_gap']['uf1']:+.3f}" in lines[oracle + 1]
        text = " ".join(stream.getvalue().split())
        assert "train and are not tested: 18" in text
        assert "fewer than 8 frames): 9, 01/EP00" in text and "01/EP07, …" in text
    assert rows == {"last": ["last", "inner", "oracle"], "oracle": ["oracle", "last", "inner"]}


def test_terminal_table_without_oracle_or_interval() -> None:
    metrics = summarise(make_predictions(subjects=1, selections=("last",)), CLASSES, "p", [])
    stream = io.StringIO()
    Console(file=stream, width=80).print(terminal_table(metrics))
    assert "none" in stream.getvalue()
    assert "oracle" not in stream.getvalue()
