"""Published numbers: our table is consistent, and published predictions yield the published scores."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.megc2019_arrays import FOLDER, needs_arrays

from fdp_lightning.config import CONF_DIR, EXPERIMENTS
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.metrics import accuracy, confusion, precision, uar, uf1
from fdp_lightning.evaluation.published import COLUMNS, matching, read_published


def test_the_shipped_table_has_known_protocols_dated_sources_and_the_published_numbers() -> None:
    rows = read_published(EXPERIMENTS / "published.csv")
    protocols = [path.stem for path in (CONF_DIR / "protocol").glob("[!_]*.yaml")]
    for row in rows:  # a protocol's name or its beginning
        assert any(f"{name}_".startswith(f"{row.protocol}_") for name in protocols), row
    of = {(row.system, row.protocol): row for row in rows}
    assert len(of) == len(rows) == 31
    assert all(re.search(r"\b(19|20)\d\d\b", row.source) for row in rows)  # a paper or report has a year
    assert of["HTNet", "megc2019"].selection == "oracle"
    assert of["HTNet", "megc2019"].scores == {"uf1": 0.860, "uar": 0.848}
    assert of["AFN", "samm"].scores == {"accuracy": 0.8247, "uf1": 0.665}
    assert [row.selection for row in rows if row.protocol == "cd6me"] == ["last"] * 9
    ranked = {row.system for row in rows if row.selection == "last" and row.protocol == "megc2019"}
    assert ranked == {"SSSNet", "STSTNet", "STSTNet (own PyTorch)", "STSTNet (MEB)", "OffApexNet (MEB)"}
    assert of["STSTNet", "megc2019"].scores["uar"] == 0.7186
    assert ".7605" in "".join(of["STSTNet", "megc2019"].notes)


def _table(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "numbers.csv"
    path.write_text("\n".join([",".join(COLUMNS), *lines]) + "\n", encoding="utf-8-sig")
    return path


def test_rows_of_a_system_are_joined_and_notes_name_their_score(tmp_path: Path) -> None:
    first, second, third = read_published(
        _table(
            tmp_path,
            "A,p,uf1,0.5,last,here,both",
            "A,p,accuracy,0.75,last,here,both",
            'B,p,uf1,1,oracle,"x, y",',
            "B,p,uar,0,oracle,z,only uar",
            "A,p,uf1,0.6,oracle,here,",
        )
    )
    assert (first.system, first.scores, first.notes) == ("A", {"uf1": 0.5, "accuracy": 0.75}, ("both",))
    assert (second.source, second.notes) == ("x, y; z", ("UAR: only uar",))
    assert (third.selection, third.scores) == ("oracle", {"uf1": 0.6})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("A,p,uf1,73.9,last,here,", "73.9 is not a fraction"),
        ("A,p,uf1,much,last,here,", "much"),
        ("A,p,f1,0.5,last,here,", "metric 'f1'"),
        ("A,p,uf1,0.5,best,here,", "selection 'best'"),
        ("A,p,uf1,0.5,last,,", "source is empty"),
        ("A,p,uf1,0.5,last,here", "6 values"),
        ("ok,p,uf1,0.7,last,here,", "twice"),
        ('A,p,uf1,0.5,last,here,"not closed', "not comma-separated"),
    ],
)
def test_an_invalid_row_is_reported_with_file_and_line(line: str, message: str, tmp_path: Path) -> None:
    path = _table(tmp_path, "ok,p,uf1,0.5,last,here,", line)
    with pytest.raises(UserError, match=rf"numbers\.csv, line 3: .*{message}"):
        read_published(path)


def test_numbers_match_a_protocol_by_name_or_its_beginning_but_never_another_dataset(tmp_path: Path) -> None:
    names = ["casme2", "casme2_5c", "casme2_5c_249", "casme2_5", "casme", "casme_sq", "casme2_5c_249_x"]
    rows = read_published(_table(tmp_path, *(f"S,{name},uf1,0.5,last,here," for name in names)))
    found = [(row.protocol, exact) for row, exact in matching(rows, "casme2_5c_249", ["casme2"])]
    assert found == [("casme2", False), ("casme2_5c", False), ("casme2_5c_249", True)]
    assert [row.protocol for row, _ in matching(rows, "casme_sq_3c", ["casme_sq"])] == ["casme_sq"]


STSTNET = {
    "full": ([[219, 22, 9], [40, 62, 7], [21, 3, 59]], 0.7353, 0.7186, 0.7605),
    "smic": ([[54, 10, 6], [17, 30, 4], [14, 1, 28]], 0.6801, 0.6703, 0.7013),
    "casme2": ([[83, 5, 0], [12, 19, 1], [2, 0, 23]], 0.8382, 0.8190, 0.8686),
    "samm": ([[82, 7, 3], [11, 13, 2], [5, 2, 8]], 0.6588, 0.6415, 0.6810),
}
"""Counts in STSTNet's Matlab log, its published UF1, the recall from these counts, and its published UAR."""


@pytest.mark.parametrize("dataset", STSTNET)
def test_the_published_uar_of_ststnet_is_its_mean_precision(dataset: str) -> None:
    counts, published_uf1, recall, published_uar = STSTNET[dataset]
    matrix = np.array(counts)
    found = uf1(matrix), uar(matrix), precision(matrix).mean()
    assert found == pytest.approx((published_uf1, recall, published_uar), abs=5e-5)


@needs_arrays
@pytest.mark.parametrize("system", ["ststnet_matlab_442", "ststnet_python_442", "capsulenet_435"])
def test_published_predictions_give_the_published_scores(system: str) -> None:
    expected = json.loads((FOLDER / "expected_metrics.json").read_text())[system.rpartition("_")[0]]
    table = pd.read_csv(FOLDER / f"predictions_{system}.csv")
    for dataset, scores in expected.items():
        clips = table if dataset == "full" else table[table["dataset"] == dataset]
        matrix = confusion(clips["label"].to_numpy(), clips["prediction"].to_numpy(), 3)
        assert matrix.tolist() == scores["confusion_rows_true"]
        found = len(clips), uf1(matrix), uar(matrix), precision(matrix).mean(), accuracy(matrix)
        wanted = [scores[name] for name in ("n", "UF1", "UAR", "mean_precision", "accuracy")]
        assert found == pytest.approx(wanted, abs=5e-5), dataset
