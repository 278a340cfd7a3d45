"""Loggers that cannot work are refused, with exit code 2, before any data is prepared."""

import os
from pathlib import Path

import pytest
from omegaconf import DictConfig, open_dict

from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.tracking.check import check_loggers, tags_of, try_logger
from fdp_lightning.tracking.loggers import names_of, shortened
from tests.command import new_process

pytestmark = pytest.mark.costly

KEY = ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL", "NETRC")


@pytest.mark.slow  # a process of its own: W&B looks for a key once
def test_online_without_a_key_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in KEY} | {"HOME": str(tmp_path)}
    options = ["+experiment=synthetic_loso", "logger=wandb", "logger.wandb.offline=false"]
    done = new_process(*options, cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert "logger.wandb.offline=false" in done.stderr
    assert "wandb login" in done.stderr and "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {".config", ".cache"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("logger.wandb.project=a/b", "Invalid project name"),
        ("+logger.wandb.nonsense=1", "logger.wandb has no option nonsense"),
        (f"logger.wandb.tags=[{'x' * 65}]", "65 characters"),
        ("+logger.wandb.settings={nonsense: 1}", "nonsense"),
    ],
)
def test_what_wandb_would_refuse_in_every_fold_is_refused_at_once(override: str, message: str) -> None:
    config = configuration("logger=wandb", override)
    with pytest.raises(UserError, match=message):
        try_logger("wandb", config.logger.wandb)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("logger.wandb.offline=flase", "expected true or false"),
        ("+logger.wandb.mode=online", "no option mode"),
        ("+logger.wandb.settings={mode: online}", "no option mode"),
    ],
)
def test_nothing_but_the_switch_puts_wandb_online(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_loggers(configuration("logger=wandb", override), [])


def test_tensorboard_without_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdp_lightning.tracking.check.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"logger=tensorboard needs .* pip install fdp-lightning\[tensorboard\]"):
        check_loggers(configuration("logger=tensorboard"), [])


def test_tags_tell_synthetic_from_real_data() -> None:
    assert tags_of(configuration("data=synthetic_samm")) == ["synthetic_samm", "synthetic_samm_5c", "synthetic"]
    real = configuration("data=casme2", "protocol=casme2_5c_247")
    assert tags_of(real) == ["casme2", "casme2_5c_247", "real"]


def test_names_of_a_run_and_its_group() -> None:
    config: DictConfig = configuration()
    assert names_of(config, Path("runs/e/v/seed-0")) == ("e", "v")
    with open_dict(config):
        config.run = "somewhere/else"
    assert names_of(config, Path("somewhere/else")) == ("synthetic_5c", "else")
    long = {shortened(f"{'x' * 150}{end}", 100) for end in "ab"}
    assert len(long) == 2 and {len(name) for name in long} == {100}
