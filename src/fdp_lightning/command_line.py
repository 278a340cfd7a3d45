"""The command line: from its arguments to the task, and from exceptions to exit codes and messages.

Nothing slow is imported here, so that `--help`, `--cfg job` and misspelt keys get an immediate response.
"""

import io
import os
import platform
import sys
import traceback
from importlib.metadata import version
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fdp_lightning import __version__, interrupts
from fdp_lightning.config import CONF_DIR, register_schema
from fdp_lightning.console.arguments import explain, normalised
from fdp_lightning.errors import UserError, disk_trouble, visible

USER_MISTAKE = 2


@hydra.main(config_path=str(CONF_DIR), config_name="config", version_base="1.3")
def _application(config: DictConfig) -> str | None:
    from fdp_lightning.tasks import run_task

    return run_task(config)


def run() -> None:
    """Run the task of `sys.argv`; exit with the codes of `fdp_lightning.__main__.main`."""
    if sys.argv[1:] == ["version"] or {"--version", "-V"} & {*sys.argv[1:]}:  # Hydra would print its own
        print(f"fdp_lightning {__version__}, torch {version('torch')}, Python {platform.python_version()}")
        return
    # A closed stream (`>&-`) is None; only what is printed to it may be lost.
    sys.stdout, sys.stderr = (stream or Path(os.devnull).open("w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    if os.environ.get("COLUMNS") == "0":
        del os.environ["COLUMNS"]  # a terminal of unknown width; tables would have no room at all
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names of a dataset may not be valid text
    # Otherwise Hydra prints exceptions itself and always exits with 1.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    # Otherwise albumentations looks up its newest version on the network when it is imported.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    register_schema()
    try:
        sys.argv[1:] = normalised(sys.argv[1:])
        _require_working_folder()
        _application()
        sys.stdout.flush()
    except KeyboardInterrupt:
        interrupts.end()
    except BrokenPipeError:
        _discard_output()  # the reader of a pipe (`| head`) has closed it
        sys.exit(0)
    except Exception as error:
        if interrupts.was_interrupted():  # a library has turned the interrupt into another exception
            interrupts.end()
        mistake = isinstance(error, UserError | HydraException | OmegaConfBaseException)
        message = explain(error, sys.argv[1:]) if mistake else disk_trouble(error)
        if message is None:
            raise
        if "debug='true'" in sys.argv:
            traceback.print_exc()
        print(f"\nfdp_lightning: {visible(message)}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:  # standard output is a file on the full disk
            _discard_output()
        sys.exit(USER_MISTAKE)
    else:
        interrupts.is_dealt_with()


def _require_working_folder() -> None:
    try:
        os.getcwd()  # noqa: PTH109 — no path is needed
    except FileNotFoundError as error:
        raise UserError("the working folder no longer exists. Change to one that does") from error


def _discard_output() -> None:
    """Redirect standard output to the null device, so that flushing it at interpreter exit does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
