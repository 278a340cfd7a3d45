"""How training is carried out: the same values, sooner or in less memory."""

import ctypes
import platform
from dataclasses import dataclass

import torch
from torch import nn

_ALLOWED: dict[str, tuple[str | None, ...]] = {
    "freed_memory": ("keep", "return", "default"),
    "checkpointing": (None, "blocks", "stages"),
    "compile": (None, "default", "reduce-overhead", "max-autotune"),
}


@dataclass(frozen=True)
class Compute:
    """What `compute=…` chooses. Nothing here changes what is computed beyond rounding; a network is built with none of
    it, which is the reference that tests compare with.

    Args:
        frames_at_once: of `model.frame_batches=per_frame`, whose statistics stay those of each frame index; None: all.
        channels_last: weights of convolutions, and so all maps, with channels last in memory.
        small_maps: 3×3 convolutions on small maps as matrix products (models/small_maps.py); on the CPU.
        fused_optimizer: one kernel for a whole step of the optimizer.
        freed_memory: 'keep' what a step frees for the next one, or 'return' it to the system at once, which then has
            to clear each page anew; 'default': the C library decides. On the CPU.
        checkpointing: keep only the inputs of the backbone's 'blocks' or 'stages' (and of SegNet's stages), and compute
            the rest once more in the backward pass; None: keep everything.
        compile: None, or a mode of torch.compile; 'reduce-overhead' replays CUDA graphs. Training steps alone.
        tf32: products of float32 in TF32, with 10 binary digits, on GPUs that have it.
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
        for name in ("channels_last", "small_maps", "fused_optimizer", "tf32"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected true or false")
        for name, allowed in _ALLOWED.items():
            if getattr(self, name) not in allowed:
                words = ", ".join("null" if value is None else value for value in allowed)
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed are {words}")
        frames = self.frames_at_once
        if frames is not None and (not isinstance(frames, int) or isinstance(frames, bool) or frames < 1):
            raise ValueError(f"frames_at_once is {frames!r}; expected null (all) or a whole number of at least 1")
        if self.compile and self.checkpointing:
            raise ValueError("compile and checkpointing do not go together; torch.compile decides itself what it keeps")

    def set_process(self, on_gpu: bool) -> None:
        """What holds for the whole process: allocator, or precision of products."""
        if on_gpu:
            torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
            torch.backends.cudnn.allow_tf32 = self.tf32
        else:
            free_memory(self.freed_memory)

    def prepare(self, network: nn.Module) -> None:
        """Have a network carried out so, in place, as far as its modules know these options."""
        options = {
            "frames_at_once": self.frames_at_once,
            "rewritten": self.small_maps,
            "checkpointing": self.checkpointing,
        }
        for module in network.modules():
            for option, value in options.items():
                if hasattr(module, option):
                    setattr(module, option, value)
        if self.channels_last:
            channels_last(network)
        if self.compile:
            network.compile(mode=self.compile)


PLAIN = Compute(1, False, False, False, "default", tf32=False)
"""None of it."""


def channels_last(network: nn.Module) -> None:
    """The layout of the weights of all convolutions, which their maps follow.

    Convolutions on small maps are about a third faster so, on the CPU as on a GPU.
    """
    for parameter in network.parameters():
        if parameter.ndim == 4:  # a Conv3d's weights know no such format
            parameter.data = parameter.data.to(memory_format=torch.channels_last)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
"""Parameters of glibc's mallopt, of its malloc.h."""


def free_memory(way: str) -> None:
    """What glibc's allocator, where it is the one, does with large pieces that are freed, from now on in this process.

    Args:
        way: see `Compute.freed_memory`.
    """
    if way == "default" or platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    if way == "keep":
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    else:
        library.mallopt(_M_MMAP_THRESHOLD, 2**17)
