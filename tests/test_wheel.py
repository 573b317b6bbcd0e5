"""The wheel, installed where no checkout is, finds its properties and runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_lists_examines_and_runs_outside_a_checkout(tmp_path, tiny_path):
    source = tmp_path / "source"
    for name in ("recbole_ext", "properties"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run(
        [*build, "-w", str(tmp_path / "dist"), str(source)], check=True, capture_output=True
    )
    shutil.rmtree(source)
    (wheel,) = (tmp_path / "dist").glob("*.whl")

    # An environment of its own that sees this one's packages, so that nothing is downloaded, but not the checkout.
    home = tmp_path / "env"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = next((home / "lib").glob("python*/site-packages"))
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)

    def bench(*argv: str) -> str:
        clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            [str(home / "bin" / "recbole-bench"), *argv], cwd=tmp_path, env=clean, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [str(python), "-c", "import recbole_ext; print(recbole_ext.__file__)"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert where.startswith(str(site))
    assert (site / "recbole_ext" / "testing" / "model_contract.py").is_file()
    for kind in ("html", "css", "js"):
        for part in ("explain", "leaderboard"):
            assert (site / "recbole_ext" / part / "page" / f"page.{kind}").is_file()
    assert "L3AE" in bench("list") and "reg_kd" in bench("list", "L3AE")
    assert "recbole                  1.2.1" in bench("doctor")
    out = bench(
        "--model=L3AE",
        "--dataset=tiny",
        f"--data-path={tiny_path}",
        "--encoder=hash",
        "--protocols=full",
    )
    assert "L3AE" in out and (tmp_path / "runs").is_dir()
