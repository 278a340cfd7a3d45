"""What runs are called: each part of a name once."""

import re

import pytest

from fdp_lightning.config import CONF_DIR, configuration
from fdp_lightning.runs.folder import experiment_name, variant_name


@pytest.mark.parametrize("data", sorted(path.stem for path in (CONF_DIR / "data").glob("[!_]*.yaml")))
def test_a_run_without_an_experiment_names_its_dataset_once(data: str) -> None:
    name = experiment_name(configuration(f"data={data}"))
    assert not re.search(r"(^|_)([a-z0-9]+)_\2(_|$)", name), name


def test_a_key_that_is_given_twice_is_in_the_name_once_with_what_counts() -> None:
    assert variant_name(["model.pooling=arp", "seed=2", "model.pooling=mean"]) == "model.pooling-mean"
    assert variant_name(["data=samm", "protocol=samm_3c"]) == "default"
    assert variant_name(["+experiment=samm_loso", "protocol=samm_3c"]) == "protocol-samm_3c"  # not the experiment's own
