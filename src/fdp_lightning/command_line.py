"""From the arguments of the command line to the task, and from its exceptions to exit codes and words.

Nothing heavy is imported here, so that `--help`, `--cfg job` and a misspelt key answer at once.
"""

import io
import os
import platform
import sys
import traceback
from importlib.metadata import version

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fdp_lightning import __version__, interrupts
from fdp_lightning.config import CONF_DIR, register_schema
from fdp_lightning.console.mistakes import asks_for_version, explain, meant
from fdp_lightning.disk import disk_trouble
from fdp_lightning.errors import UserError

USER_MISTAKE = 2


@hydra.main(config_path=str(CONF_DIR), config_name="config", version_base="1.3")
def _application(config: DictConfig) -> str | None:
    from fdp_lightning.tasks import run_task

    return run_task(config)


def run() -> None:
    """Run the task of `sys.argv`.

    Raises:
        SystemExit: with the exit codes of `fdp_lightning.__main__.main`.
    """
    if asks_for_version(sys.argv[1:]):
        print(f"fdp_lightning {__version__}, torch {version('torch')}, Python {platform.python_version()}")
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # of a dataset's file names some are no valid text
    # Hydra would print exceptions itself and always exit with 1; this lets them through to us.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    # albumentations asks the network for its newest version on import unless told not to.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    register_schema()
    try:
        sys.argv[1:] = meant(sys.argv[1:])
        _application()
        sys.stdout.flush()
    except KeyboardInterrupt:
        interrupts.end()
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has gone; there is nobody left to tell.
        _drop_output()
        sys.exit(0)
    except Exception as error:
        if interrupts.was_interrupted():  # something in between has made another exception of it
            interrupts.end()
        mistake = isinstance(error, UserError | HydraException | OmegaConfBaseException)
        words = explain(error, sys.argv[1:]) if mistake else disk_trouble(error)
        if words is None:
            raise
        if "debug='true'" in sys.argv:
            traceback.print_exc()
        print(f"\nfdp_lightning: {words}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:  # standard output is what lies on the full disk
            _drop_output()
        sys.exit(USER_MISTAKE)
    else:
        interrupts.is_dealt_with()


def _drop_output() -> None:
    """Let what standard output still holds go nowhere, so that the interpreter's end has no trouble with it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
