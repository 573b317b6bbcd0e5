"""What a key may be: choices and bounds as data, of every model; RecBole's keys get the name that ours has."""

from __future__ import annotations

import pytest

from recbole_ext.config import model_defaults, resolve
from recbole_ext.core.errors import HarnessError, nearest
from recbole_ext.core.recbole_package import recbole_models, recbole_root
from recbole_ext.core.values import Rule, check, parse_value
from recbole_ext.core.yaml_files import from_yaml, properties, read_yaml
from recbole_ext.registry.find import find_model
from recbole_ext.registry.rows import MODELS

EVERY = (*MODELS, *(f"{name}@recbole" if name in MODELS else name for name in recbole_models()))


def settled(model, options=None, **given):
    return resolve([find_model(model)], options or {}, {k: str(v) for k, v in given.items()})[0]


def outside(rule):
    if rule.choices is not None:
        return "nowhere"
    if rule.example is not None:
        return "5"
    return str(rule.least - 1) if rule.least is not None else str(rule.above)


@pytest.mark.parametrize("name", EVERY)
def test_every_default_is_allowed_and_what_is_outside_is_one_line(name):
    found = model_defaults(find_model(name))
    sections = read_yaml(properties() / "overall.yaml")
    keys = {**found.params, **sections["run"], **sections["evaluation"], **sections["dataset"]}
    ruled = [key for key in keys if key in found.rules]
    assert {"device", "exclude", "split"} <= set(ruled)
    for key in ruled:
        check(found.rules, key, keys[key])
        with pytest.raises(HarnessError, match=f"^--{key}=.*must be") as said:
            text = outside(found.rules[key])
            check(found.rules, key, parse_value(key, text, keys[key], found.rules[key].choices))
        assert len(str(said.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        ("EASE", {"precision": "half"}, "--precision=half must be auto, float32 or float64"),
        ("Pop", {"device": "gpu"}, "--device=gpu must be auto, cpu or cuda"),
        ("L3AE", {"encoder_pooling": "men"}, "must be mean or last, did you mean mean?"),
        ("DMF", {"inter_matrix_type": "rating"}, "must be 01; RecBole is given no ratings here"),
        ("CDAE", {"loss_type": "CE"}, "--loss_type=CE must be BCE or MSE"),
        ("BPR", {"pos_sampling": "users"}, "must be interaction or user_uniform"),
        ("BPR", {"learner": "adm"}, "did you mean adam"),
        ("BPR", {"epochs": "none"}, "--epochs=none: must be a whole number"),
        ("BPR", {"learning_rate": "1e999"}, "must be a finite number"),
        ("BPR", {"train_neg_sample_args": "{distribution: popular}"}, "train_neg_sample_args.distribution=popular must be"),
        ("BPR", {"train_neg_sample_args": "{distributon: popularity}"}, "did you mean distribution?"),
        ("SASRec@recbole", {"hidden_dropout_prob": "1.5"}, "must be a number from 0 to 1"),
        ("BPR", {"clip_grad_norm": "5"}, "--clip_grad_norm=5: must be a mapping with max_norm, e.g. '{max_norm: 5}'"),
        ("BPR", {"clip_grad_norm": "{norm_type: 1}"}, "--clip_grad_norm={norm_type: 1}: must be a mapping with max_norm"),
        ("BPR", {"clip_grad_norm": "{max_norm: 5, norm_typ: 1}"}, "did you mean norm_type?"),
        ("BPR", {"clip_grad_norm": "{max_norm: 0}"}, "--clip_grad_norm.max_norm=0: must be a number above 0"),
        ("BPR", {"clip_grad_norm": "{max_norm: much}"}, "--clip_grad_norm.max_norm=much: must be a number above 0"),
        ("Pop", {"val_interval": "3"}, "--val_interval is not a key of Pop or of the harness: it is --min_rating here"),
        ("Pop", {"threshold": "3"}, "it is --min_rating here"),
        ("Pop", {"topk": "3"}, "it is --ks here"),
        ("Pop", {"user_inter_num_interval": "[5,inf)"}, "it is --min_user here"),
        ("Pop", {"gpu_id": "0"}, "it is --device=cuda or --device=cpu here"),
        ("Pop", {"reproducibility": "true"}, "every run repeats here"),
    ],
)  # fmt: skip
def test_a_value_or_a_key_that_is_none_is_one_line(model, given, said):
    with pytest.raises(HarnessError) as error:
        settled(model, **given)
    assert said in str(error.value)


def test_a_choice_may_be_spelled_as_nothing_is():
    assert settled("L3AE", semantic_norm="none").params["semantic_norm"] == "none"
    assert settled("BPR", clip_grad_norm="none").params["clip_grad_norm"] is None


def test_a_mapping_is_taken_as_its_example_has_it():
    for text in ("{max_norm: 5}", "{'max_norm': 5}", "{max_norm: 0.5, norm_type: 1}"):
        assert settled("BPR", clip_grad_norm=text).params["clip_grad_norm"] == from_yaml(text, "")
    rule = model_defaults(find_model("BPR")).rules["clip_grad_norm"]
    assert str(rule) == "a mapping, e.g. {max_norm: 5}"


def test_a_datasets_own_options_are_looked_at_too():
    with pytest.raises(HarnessError, match="dataset option 'min_user'=-1: must be a whole number"):
        settled("Pop", {"min_user": -1})
    with pytest.raises(HarnessError, match="'val_interval' is unknown: it is --min_rating"):
        settled("Pop", {"val_interval": {"rating": 3}})


def test_a_models_yaml_is_looked_at_too(monkeypatch):
    from recbole_ext import config

    def read(path):
        found = read_yaml(path)
        return {"params": {"precision": "half"}} if path.name == "EASE.yaml" else found

    monkeypatch.setattr(config, "read_yaml", read)
    with pytest.raises(HarnessError, match=r"EASE\.yaml: precision=half must be auto"):
        settled("EASE")


def test_a_rule_that_is_none_is_named():
    with pytest.raises(HarnessError, match="x: 'leest' says nothing of a value"):
        Rule.of({"leest": 1}, "x")


def test_every_key_of_recboles_own_files_is_known_or_has_a_name_here():
    root = recbole_root() / "properties"
    theirs = {**read_yaml(root / "overall.yaml"), **read_yaml(root / "dataset" / "sample.yaml")}
    overall = read_yaml(properties() / "overall.yaml")
    ours = {key for section in overall.values() for key in section} | {"enable_amp"}
    told = read_yaml(properties() / "recbole.yaml")
    assert not theirs.keys() - ours - told.keys()
    assert not told.keys() & ours


@pytest.mark.parametrize(
    ("word", "found"),
    [("threshold", ""), ("val_interval", ""), ("mpl", "mlp"), ("epoch", "epochs"), ("reg_kdd", "reg_kd")],
)  # fmt: skip
def test_only_what_a_slip_of_the_hand_makes_is_suggested(word, found):
    known = ("threads", "valid_metric", "mlp", "epochs", "reg_kd", "train_batch_size")
    assert (f"mean {found}?" in nearest(word, known)) if found else not nearest(word, known)
