"""How training is computed: the same values, faster or in less memory."""

import ctypes
import platform
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Compute:
    """Settings of `compute=…`. They change results by floating-point differences only; a network is built without any,
    the reference implementation that tests compare with. Their values are checked in console/option_values.py.

    Args:
        frames_at_once: number of frames computed together under `model.frame_batches=per_frame`; None: all.
        channels_last: weights of convolutions, and so all maps, with channels last in memory.
        small_maps: 3×3 convolutions on small maps as matrix products (models/small_maps.py); on the CPU.
        fused_optimizer: one kernel for a whole step of the optimizer.
        freed_memory: 'keep' what a step frees for the next one, or 'return' it to the system at once, which then
            has to clear each page again; 'default': the C library decides. On the CPU.
        checkpointing: keep only the inputs of the backbone's 'blocks' or 'stages' (and of SegNet's stages), and compute
            the rest once more in the backward pass; None: keep everything.
        compile: None, or a mode of torch.compile; 'reduce-overhead' replays CUDA graphs. Training steps only.
        tf32: products of float32 in TF32, with 10 binary digits, on GPUs that support it.
    """

    frames_at_once: int | None = None
    channels_last: bool = True
    small_maps: bool = True
    fused_optimizer: bool = True
    freed_memory: str = "keep"
    checkpointing: str | None = None
    compile: str | None = None
    tf32: bool = True

    def __post_init__(self) -> None:
        if self.compile and self.checkpointing:
            raise ValueError("compile and checkpointing do not go together; torch.compile decides itself what it keeps")

    def set_process(self, on_gpu: bool) -> None:
        """Set what holds for the whole process: allocator, or precision of products."""
        if on_gpu:
            torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
            torch.backends.cudnn.allow_tf32 = self.tf32
        else:
            free_memory(self.freed_memory)

    def prepare(self, network: nn.Module) -> None:
        """Apply the settings to a network in place, as far as its modules have these options."""
        options = {
            "frames_at_once": self.frames_at_once,
            "rewritten": self.small_maps,
            "checkpointing": self.checkpointing,
        }
        for module in network.modules():
            for option, value in options.items():
                if hasattr(module, option):
                    setattr(module, option, value)
        if self.channels_last:  # convolutions on small maps are then about a third faster, on the CPU and on a GPU
            for parameter in network.parameters():
                if parameter.ndim == 4:  # weights of a Conv3d have no such format
                    parameter.data = parameter.data.to(memory_format=torch.channels_last)
        if self.compile:
            network.compile(mode=self.compile)


PLAIN = Compute(1, False, False, False, "default", tf32=False)  # the reference implementation: no setting applied


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # parameters of glibc's mallopt, of its malloc.h


def free_memory(way: str) -> None:
    """Let glibc's allocator 'keep' or 'return' large freed blocks in this process; no effect with another C library."""
    if way == "default" or platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    if way == "keep":
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    else:
        library.mallopt(_M_MMAP_THRESHOLD, 2**17)
