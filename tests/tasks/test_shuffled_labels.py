"""Why `last` is the headline: where labels mean nothing it is at chance, and `oracle` is not."""

import json
from pathlib import Path

from tests.tasks.conftest import start


def test_with_shuffled_labels_last_is_at_chance_and_oracle_above(tmp_path: Path) -> None:
    size = ["data.generate.subjects=8", "trainer.max_epochs=20", "model.optimizer.lr=0.01"]
    done = start(tmp_path, *size, "protocol.shuffled=0", "selection.inner_subjects=2", "loso.workers=2")
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("runs/synthetic_loso/*/seed-0")
    metrics = json.loads((run / "metrics.json").read_text())
    last, inner, oracle = (metrics["selections"][name] for name in ("last", "inner", "oracle"))
    chance = metrics["floors"]["chance"]
    for score in ("accuracy", "uf1", "uar"):
        for honest in (last, inner):
            low, high = honest["ci95"][score]
            assert low <= chance[score] <= high, (score, honest)
    assert oracle["ci95"]["accuracy"][0] > chance["accuracy"]  # it "beats" chance where there is nothing to learn
    assert oracle["accuracy"] >= last["accuracy"] + 0.05
    assert metrics["optimism_gap"]["accuracy"] == oracle["accuracy"] - last["accuracy"]
    assert any("shuffled" in caveat for caveat in metrics["caveats"])
    assert "The labels are shuffled" in (run / "report.html").read_text()
    assert "caveat: The labels are shuffled" in " ".join(done.stdout.split())
