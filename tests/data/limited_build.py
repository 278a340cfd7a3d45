"""Join, verify and read a store four times larger than the memory limit; started by test_store_resume.py.

python limited_build.py <an empty folder>
"""

import resource
import sys
from pathlib import Path

import numpy as np
from store_builds import lay_out, made_of

from fdp_lightning.data.store.clip_store import FRAMES

place, limit = Path(sys.argv[1]), 40 * 2**20
made_of(*lay_out(place / "warm", [(2, 16, 16)], 16)[:2], 16)  # starts the threads of pyarrow
folder, clips, frames = lay_out(place / "large", [(16, 512, 512)] * 40, 512)
sums = [int(f.sum()) for f in frames]
assert sum(f.nbytes for f in frames) == 4 * limit
del frames
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + limit, used + limit))
store = made_of(folder, clips, 512)
assert [int(store.read(row, np.arange(16)).sum()) for row in range(40)] == sums
try:
    np.memmap(folder / FRAMES, np.uint8, "r")
except (OSError, MemoryError):
    sys.exit(0)
sys.exit("the limit does not bind")
