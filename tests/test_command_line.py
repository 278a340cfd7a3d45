"""Small mercies of the command line."""

import pytest

from fdp_lightning.mistakes import multirun_first, normalise_debug


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("debug=true", "debug='true'"),
        ("+debug=smoke", "debug='smoke'"),
        ("debug=false", "debug=null"),
        ("data.debug=true", "data.debug=true"),
    ],
)
def test_debug_is_both_a_switch_and_a_group(given: str, meant: str) -> None:
    assert normalise_debug(given) == meant


def test_a_sweep_may_be_asked_for_anywhere() -> None:
    assert multirun_first(["+experiment=a", "-m", "seed=0,1"]) == ["-m", "+experiment=a", "seed=0,1"]
    assert multirun_first(["seed=1", "--cfg", "job"]) == ["seed=1", "--cfg", "job"]
