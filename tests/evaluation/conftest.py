from pathlib import Path

import pandas as pd
import pytest
from random_runs import CLASSES, make_predictions, make_run


@pytest.fixture
def predictions() -> pd.DataFrame:
    return make_predictions()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "synthetic_loso" / "base" / "seed-42", classes=[*CLASSES[:2], "others"])
