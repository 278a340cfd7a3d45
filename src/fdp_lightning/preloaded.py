"""Modules that the forkserver imports before it forks, so that all workers share them.

Importing starts no thread and runs no network, so the state that a fork copies is well defined.
"""

import atexit
import gc

import albumentations  # noqa: F401
import facenet_pytorch  # noqa: F401
import lightning  # noqa: F401
import pyarrow.dataset
import pyarrow.parquet  # noqa: F401
import timm.layers  # noqa: F401
import torchmetrics  # noqa: F401

import fdp_lightning.data.faces.prepare_clip
import fdp_lightning.engine.pool
import fdp_lightning.engine.train_fold  # noqa: F401

# Without this the first garbage collection of each worker writes to, and so copies, all of the memory it shares.
gc.collect()
gc.freeze()
atexit.register(gc.unfreeze)  # so that this process, unlike its workers, ends as libraries expect
