"""The command line: `python -m fdp_lightning` and the console script `fdp-lightning`.

Nothing heavy is imported here, so that `--help`, `--cfg job` and a misspelt key answer at once. No class lives in this
file: under `python -m` its name is `__main__`, and spawned processes could not unpickle it.
"""

import io
import os
import sys
import traceback
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fdp_lightning.config import CONF_DIR, register_schema
from fdp_lightning.errors import UserError
from fdp_lightning.mistakes import explain, multirun_first, normalise_debug

USER_MISTAKE = 2
INTERRUPTED = 130


@hydra.main(config_path=str(CONF_DIR), config_name="config", version_base="1.3")
def _application(config: DictConfig) -> str | None:
    from fdp_lightning.tasks import run_task

    return run_task(config)


def main() -> None:
    """Run one task; exit code 0, 2 for a user's mistake, 1 (with a traceback) for a bug.

    Started once per device (torchrun, srun), the first process runs the task and the others are at its disposal.
    """
    from fdp_lightning.tasks.launch import launch_of

    if (launch := launch_of(os.environ)) is None:
        _command()
    else:
        from fdp_lightning.tasks.agents import run_as_agent

        run_as_agent(launch, _command)


def _command() -> None:
    sys.argv[1:] = multirun_first([normalise_debug(argument) for argument in sys.argv[1:]])
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # of a dataset's file names some are no valid text
    debugging = "debug='true'" in sys.argv
    # Hydra would print exceptions itself and always exit with 1; this lets them through to us.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    # albumentations asks the network for its newest version on import unless told not to.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    register_schema()
    try:
        _application()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if debugging:
            traceback.print_exc()
        print(f"\nfdp_lightning: {explain(error, sys.argv[1:])}", file=sys.stderr)
        sys.exit(USER_MISTAKE)
    except KeyboardInterrupt:
        print(
            "\nfdp_lightning: interrupted. Finished folds are kept; the same command goes on from there.",
            file=sys.stderr,
        )
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    # Started as a file or with -m, sys.argv[0] is a path; Hydra names logs and completion after it.
    sys.argv[0] = str(Path(sys.argv[0]).with_name("fdp_lightning"))
    main()
