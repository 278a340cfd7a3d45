"""Worker processes that start at once: a forkserver that has done the slow imports before it forks."""

import multiprocessing
import os
import threading
from multiprocessing.context import ForkServerContext

_PRELOAD = [
    "__main__",
    "pandas",
    "cv2",
    "torch",
    "torchmetrics",
    "lightning",
    "timm.layers",
    "jaxtyping",
    "pyarrow.parquet",
    "hydra.utils",
    "albumentations",
    "facenet_pytorch",
]
"""Imports of several seconds, made once by the forkserver and shared by all its children."""


def forkserver() -> ForkServerContext:
    """The multiprocessing context of all workers of this project.

    A plain fork would copy threads and CUDA state in an undefined condition; spawn would import torch once per worker.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    return context


def end_with_parent() -> None:
    """Let this worker end when the process that started it is gone.

    Workers of a pool hold each other's pipes open: after a SIGKILL of their parent they would wait for work for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()


def cpu_count() -> int:
    """The cores this process may use (a container or taskset may allow fewer than the machine has)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
