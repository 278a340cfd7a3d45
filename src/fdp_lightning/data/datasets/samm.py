"""SAMM."""

from typing import ClassVar

from fdp_lightning.data.datasets.adapter import FaceDataset


class SAMM(FaceDataset):
    """SAMM: 159 micro-movements of 29 subjects at 200 fps, 960×650 grey.

    Paper: Davison et al., "SAMM: A spontaneous micro-facial movement dataset", IEEE TAFFC 9(1), 2018.

    Layout under `root`::

        SAMM_Micro_FACS_Codes_v2.xlsx        13 rows of prose, then the header in Excel row 14 (row 1 in another copy)
        006/006_1_2/006_05562.jpg            zero padding differs between clips

    Quirks: subjects are text, '006' to '037'; the apexes of 028_4_1 and 032_3_1 are outside their intervals; an older
    copy has another offset for 013_1_9 (see corrections.csv); some AU cells contain "or".
    """

    name = "samm"
    fps = 200.0
    request_page = "personalpages.manchester.ac.uk/staff/adrian.davison/SAMM.html"
    label_versions = ("v2",)
    workbooks: ClassVar = {"v2": ("SAMM_Micro_FACS_Codes_v2.xlsx",)}
    columns: ClassVar = {
        "subject": "Subject", "clip": "Filename", "onset": "Onset Frame", "apex": "Apex Frame",
        "offset": "Offset Frame", "action_units": "Action Units", "emotion": "Estimated Emotion",
        "objective": "Objective Classes|Objective Class",
    }  # fmt: skip
    digits = 3
    subject_folders = r"\d{3}"
    frame_folders: ClassVar = {"selected": (".",)}
