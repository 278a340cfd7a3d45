"""The public flow maps of MEGC 2019 as arrays, for tests on real data.

They are not part of the project: they derive from licensed databases. The environment variable MEGC2019_ARRAYS names a
folder that holds them: composite442_ststnet_flow28.npz and composite442_causalnet_flow28x4.npz (flow, label, dataset,
subject, clip), ststnet_weights68.npz (`<subject>/<parameter>`), STSTNet_python_logfile.txt, and published predictions:
predictions_{ststnet_matlab_442,ststnet_python_442,capsulenet_435}.csv with their scores in expected_metrics.json.
"""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("MEGC2019_ARRAYS", ""))
needs_arrays = pytest.mark.skipif(
    not os.environ.get("MEGC2019_ARRAYS") or not FOLDER.is_dir(),
    reason="needs the public flow maps of MEGC 2019: MEGC2019_ARRAYS=<folder of the arrays>",
)
