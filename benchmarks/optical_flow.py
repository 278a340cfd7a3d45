"""Time of optical flow between two frames, by method: `python benchmarks/optical_flow.py [--json file] [--repeats n]`.

The pair is the public-domain face of scikit-image and the same face moved by half a pixel; one thread. This cost arises
once per clip, because flow is kept next to the store.
"""

import cv2
import numpy as np
from skimage.data import astronaut

from _measuring import Goal, Measurement, Row, alternate, finish, options_of
from fdp_lightning.data.inputs.flow import METHODS, flow, implementation

SIZES = (128, 256)
GOAL_MS = 60.0


def pair(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a face and its shifted copy, uint8, each (size, size)."""
    face = cv2.resize(cv2.cvtColor(astronaut()[:220, 110:330], cv2.COLOR_RGB2GRAY), (size, size))
    return face, cv2.warpAffine(face, np.array([[1, 0, 0.5], [0, 1, 0.25]]), (size, size))


def main() -> None:
    """Measure and print."""
    options = options_of(__doc__, repeats=5)
    cv2.setNumThreads(1)
    row = Row("optical_flow", "milliseconds for one pair of frames, one thread")
    for size in SIZES[:1] if options.quick else SIZES:
        first, second = pair(size)
        sides = {method: lambda method=method, a=first, b=second: flow(a, b, method) for method in METHODS}
        for method, seconds in alternate(sides, 1 if options.quick else options.repeats).items():
            row.measurements.append(Measurement(f"{method}, {size}×{size}", [1000 * s for s in seconds], "ms"))
            if method != "tvl1":
                measured = row.measurements[-1].median
                row.goals.append(Goal(f"{method}, {size}×{size}", measured, GOAL_MS, at_least=False, unit="ms"))
    row.facts = {method: implementation(method) for method in METHODS}
    finish(row, options)


if __name__ == "__main__":
    main()
