"""CASME, the first dataset of the family."""

from typing import ClassVar

from fdp_lightning.data.datasets.adapter import FaceDataset


class CASME(FaceDataset):
    """CASME: 189 micro-expressions of 18 subjects at 60 fps, 1280×720 or 640×480 colour, by camera (unchecked).

    Paper: Yan et al., "CASME database: A dataset of spontaneous micro-expressions collected from neutralized faces",
    FG 2013. Counted in a copy: tense 68, disgust 45, repression 39, surprise 20, happiness 7, sadness 6, contempt 2,
    fear 2.

    Layout under `root`; the folders above the subjects' differ between copies and may be missing::

        casme.xlsx
        Selected/sub01/EP01_5/EP01_5-12.jpg       numbers padded to 3 digits in later subjects
        Cropped/sub01/EP01_5/reg_EP01_5-12.jpg    the owners' crops

    Quirks: a folder can hold several clips (06/EP02_5 holds six), distinguished by their onset, so frames outside a
    clip's interval are normal. Two apex frames are annotated; ApexF1 is read, ApexF2 is not.
    """

    name = "casme"
    fps = 60.0
    request_page = "casme.psych.ac.cn"
    label_versions = ("v1",)
    workbooks: ClassVar = {"v1": ("casme.xlsx",)}
    columns: ClassVar = {
        "subject": "Subject", "clip": "Filename", "onset": "OnsetF|OnsetFrame",
        "apex": "ApexF1|ApexFrame1|ApexF|ApexFrame", "offset": "OffsetF|OffsetFrame",
        "action_units": "AU|AUs|Action Units", "emotion": "Emotion|Estimated Emotion",
    }  # fmt: skip
    digits = 2
    subject_folders = r"sub\d+"
    clip_folders = ("sub{subject}/{clip}",)
    frame_folders: ClassVar = {"selected": ("Selected", "CASME_selected", "."), "cropped": ("Cropped", "CASME_cropped")}
    crops = "cropped"
    recordings = frozenset({"selected", "cropped"})
