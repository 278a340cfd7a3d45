"""`task=prepare`: a dataset's clip store, one line per problem, prepare.json and a contact sheet for inspection."""

import json
import logging
import time
from functools import cache

from omegaconf import DictConfig

from fdp_lightning.console.progress import clock
from fdp_lightning.data.store.clip_store import open_store, read_manifest
from fdp_lightning.data.store.contact_sheet import CONTACT_SHEET, write_contact_sheet
from fdp_lightning.engine.dataset import ready_data
from fdp_lightning.errors import visible
from fdp_lightning.files import write_atomic

log = logging.getLogger("fdp_lightning")


def prepare(config: DictConfig) -> None:
    """Build or find the store, print the problems of its clips, and write prepare.json and a contact sheet into it."""
    start = time.monotonic()
    data = ready_data(config, before_work=cache(lambda: log.info("loading PyTorch")))  # which the face detector needs
    manifest = read_manifest(data.store)
    for problem in manifest["problems"]:
        line = f"{problem['clip']}  {problem['kind']}: {problem['detail']}"
        print(visible(line).encode(errors="backslashreplace").decode())  # a file name may not be valid text
    summary = {
        "dataset": config.data.name,
        "protocol": data.protocol.name,
        "store": str(data.store),
        "reused": data.reused,
        "rebuilt_because": data.rebuilt_because,
        "n_clips": manifest["clips"],
        "n_frames": manifest["frames"],
        "n_protocol_clips": len(data.clips),
        "detections": manifest["detections"],
        "policy": config.data.policy,
        "left_out": [f"{s}/{c}" for s, c in zip(data.left_out["subject"], data.left_out["clip"], strict=True)],
        "problems": manifest["problems"],
        "contact_sheet": str(data.store / CONTACT_SHEET),
    }
    write_atomic(data.store / "prepare.json", json.dumps(summary, indent=1) + "\n")
    sheet = write_contact_sheet(open_store(data.store, verify=False), data.clips)
    state = "already complete" if data.reused else f"built in {clock(time.monotonic() - start)}"
    print(
        f"{manifest['clips']} clips, {manifest['frames']} frames, {len(manifest['problems'])} problems; "
        f"{len(data.clips)} clips in protocol {data.protocol.name}\nstore ({state}): {data.store}\n"
        f"contact sheet (stays on this machine): {sheet}"
    )
