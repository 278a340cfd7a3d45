"""Settings of how training is computed: the same values faster, or in less memory."""

import ctypes
import platform
from dataclasses import dataclass

import torch
from torch import nn

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # parameters of glibc's mallopt, from its malloc.h


@dataclass(frozen=True)
class Compute:
    """Settings of `compute=…`, which change results only by floating-point differences.

    A network is built without any of them; that is the reference implementation that tests compare with. Values are
    checked in console/option_values.py.

    Args:
        frames_at_once: number of frames computed together with `model.frame_batches=per_frame`; None for all.
        channels_last: store the weights of convolutions, and hence all maps, with channels last.
        small_maps: compute 3×3 convolutions on small maps as matrix products (models/small_maps.py); CPU only.
        fused_optimizer: use one kernel for a whole optimizer step.
        freed_memory: 'keep' memory that a step frees for the next one, or 'return' it to the system immediately, which
            then has to clear each page again; 'default' leaves this to the C library. CPU only.
        checkpointing: keep only the inputs of the backbone's 'blocks' or 'stages' (and of SegNet's stages), and
            recompute the rest in the backward pass; None to keep everything.
        compile: mode of torch.compile for training steps, or None; 'reduce-overhead' replays CUDA graphs.
        tf32: compute float32 products in TF32, with 10 mantissa bits, on GPUs that support it.
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
            raise ValueError(
                f"compile={self.compile} and checkpointing={self.checkpointing} exclude each other: torch.compile "
                "decides what to keep. Set one of them to null"
            )

    def set_process(self, on_gpu: bool) -> None:
        """Apply the settings of the whole process: precision of products on a GPU, glibc's allocator on the CPU."""
        if on_gpu:
            torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
            torch.backends.cudnn.allow_tf32 = self.tf32
        elif platform.libc_ver()[0] == "glibc":
            if self.freed_memory == "keep":
                ctypes.CDLL(None).mallopt(_M_MMAP_MAX, 0)
                ctypes.CDLL(None).mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
            elif self.freed_memory == "return":
                ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 2**17)

    def prepare(self, network: nn.Module) -> None:
        """Apply the settings to a network in place, where its modules have these options."""
        options = {
            "frames_at_once": self.frames_at_once,
            "rewritten": self.small_maps,
            "checkpointing": self.checkpointing,
        }
        for module in network.modules():
            for option, value in options.items():
                if hasattr(module, option):
                    setattr(module, option, value)
        if self.channels_last:  # makes convolutions on small maps about a third faster, on CPUs and GPUs
            for parameter in network.parameters():
                if parameter.ndim == 4:  # the format does not exist for weights of a Conv3d
                    parameter.data = parameter.data.to(memory_format=torch.channels_last)
        if self.compile:
            network.compile(mode=self.compile)


PLAIN = Compute(1, False, False, False, "default", tf32=False)  # the reference implementation: no setting applied
