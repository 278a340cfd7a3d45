"""What the forkserver imports before it forks: seconds of imports, made once and shared by all workers.

Importing starts no thread and runs no network, so that a fork copies nothing in an undefined condition.
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

# What is here stays for good. Without this the first garbage collection of each worker writes to, and so copies, all of
# the memory it shares.
gc.collect()
gc.freeze()
atexit.register(gc.unfreeze)  # so that this process, unlike its workers, ends as libraries expect it
