"""The command line: `python -m fdp_lightning` and the console script `fdp-lightning`.

Modules are imported inside the functions, so that Ctrl-C is already handled while they load.
"""

import os
import sys
from pathlib import Path

from fdp_lightning import interrupts


def main() -> None:
    """Run one task. Exit codes: 0 success, 2 a user's mistake, 1 a bug (with a traceback), 130 Ctrl-C.

    When started once per device (torchrun, srun), the first process runs the task and directs the others.
    """
    interrupts.end_at_once()
    from fdp_lightning.command_line import run
    from fdp_lightning.engine.launch import launch_of

    if (launch := launch_of(os.environ)) is None:
        run()
    else:
        from fdp_lightning.engine.multinode import run_as_ddp_process

        run_as_ddp_process(launch, run)


if __name__ == "__main__":
    # When started as a file or with -m, sys.argv[0] is a path; Hydra names logs and shell completion after it.
    sys.argv[0] = str(Path(sys.argv[0]).with_name("fdp_lightning"))
    main()
