"""Loggers that cannot work are refused, with exit code 2, before any data is prepared."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import DictConfig, open_dict

from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.tracking.check import check_loggers, tags_of, try_logger
from fdp_lightning.tracking.loggers import names_of, shortened

KEY = ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL", "NETRC")


def test_online_without_a_key_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in KEY} | {"HOME": str(tmp_path)}
    command = [sys.executable, "-m", "fdp_lightning", "+experiment=synthetic_loso", "logger=wandb"]
    command.append("logger.wandb.offline=false")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "logger.wandb.offline=false needs a W&B account, and no key is known" in done.stderr
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


def test_unknown_options_of_the_others_are_refused() -> None:
    with pytest.raises(UserError, match=r"unexpected keyword argument 'nonsense'"):
        try_logger("csv", configuration("+logger.csv.nonsense=1").logger.csv)


def test_tensorboard_without_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdp_lightning.tracking.check.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"logger=tensorboard needs .* pip install fdp-lightning\[tensorboard\]"):
        check_loggers(configuration("logger=tensorboard"), [])


def test_tags_tell_synthetic_from_real_data() -> None:
    assert tags_of(configuration("data=synthetic_samm")) == ["synthetic_samm", "synthetic_samm_5c", "synthetic"]
    real = configuration("data=casme2", "protocol=casme2_5c_247")
    assert tags_of(real) == ["casme2", "casme2_5c_247", "real"]


@pytest.mark.parametrize("loggers", ["[csv,wandb]", "[tensorboard,csv]", "[wandb]"])
def test_several_loggers_can_be_chosen(loggers: str) -> None:
    assert sorted(configuration(f"logger={loggers}").logger) == sorted(loggers.strip("[]").split(","))


def test_an_experiment_can_choose_several_loggers(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    lines = ["# @package _global_", "defaults: [synthetic_loso, {override /logger: [csv, wandb]}]"]
    (tmp_path / "experiment/several.yaml").write_text("\n".join(lines))
    config = configuration(f"hydra.searchpath=[file://{tmp_path}]", "+experiment=several")
    assert sorted(config.logger) == ["csv", "wandb"] and config.logger.wandb.offline


def test_names_of_a_run_and_its_group() -> None:
    config: DictConfig = configuration()
    assert names_of(config, Path("runs/e/v/seed-0")) == ("e", "v")
    with open_dict(config):
        config.run = "somewhere/else"
    assert names_of(config, Path("somewhere/else")) == ("synthetic_5c", "else")
    long = {shortened(f"{'x' * 150}{end}", 100) for end in "ab"}
    assert len(long) == 2 and {len(name) for name in long} == {100}
