"""Environment of a run, stored in environment.json next to its configuration."""

import os
import platform
import shlex
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

_PACKAGES = (
    "fdp-lightning", "torch", "torchvision", "lightning", "torchmetrics", "timm", "albumentations", "facenet-pytorch",
    "hydra-core", "numpy", "pandas", "opencv-python-headless",
)  # fmt: skip


def environment() -> dict[str, str]:
    """Return git revision, versions, machine and command as a flat mapping; `gpus` only if there are any."""
    return {
        "command": command(),
        "git_revision": _git_revision(),
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        **({"gpus": gpus} if (gpus := _gpus()) else {}),
    }


def command() -> str:
    return shlex.join(["python", "-m", "fdp_lightning", *sys.argv[1:]])


def _git_revision() -> str:
    """Return the git revision of the running source code; 'not a checkout' for an installed wheel."""
    source = Path(__file__).resolve()
    of_this_file = ["ls-files", "--error-unmatch", source.name]  # fails if installed inside another repository
    revision = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        for ask in (of_this_file, revision):
            git = ["git", "-C", str(source.parent), *ask]
            output = subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "not a checkout"
    return output


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _gpus() -> str:
    """Return the GPUs that PyTorch sees, '2 × name'; '' if it is not loaded, as it is after any training."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return ""
    counts = Counter(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return ", ".join(name if n == 1 else f"{n} × {name}" for name, n in counts.items())
