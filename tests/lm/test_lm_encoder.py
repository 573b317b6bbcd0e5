"""`lm:` encoders on a tiny LLaMA that is built here: no download, no trained weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_ext.cli import main
from recbole_ext.core import environment
from recbole_ext.core.errors import HarnessError
from recbole_ext.lm.source import Source
from recbole_ext.text import make_encoder
from recbole_ext.text.writer import make_writer
from tests.tiny_lm import SHAPE

TEXTS = [
    "Title: Toy Story; Category: Animation",
    "Title: Heat",
    "",
    "Title: Heat; Category: Crime; Description: a very long chase through the city at night",
    "story",
]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two random layers and a word tokenizer that has no padding token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("lm") / "tiny"
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>", "<s>"])
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 1)])
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=200,
        **SHAPE,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    assert (folder / "model.safetensors").is_file()
    return folder


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_equals_the_hidden_states_by_hand(llama: Path, pooling: str) -> None:
    from transformers import AutoTokenizer, LlamaModel

    tokenizer = AutoTokenizer.from_pretrained(llama)
    model = LlamaModel.from_pretrained(llama).eval()  # type: ignore[no-untyped-call]
    got = make_encoder(f"lm:{llama}", pooling=pooling, batch_size=3).encode(TEXTS)

    assert got.shape == (5, 16) and got.dtype == np.float32
    assert not got[2].any()
    for text, vector in zip(TEXTS, got, strict=True):
        if text:
            ids = torch.tensor([tokenizer(text)["input_ids"]])
            assert ids[0, 0] == 1 and ids.shape[1] > 1
            with torch.no_grad():
                states = model(ids).last_hidden_state[0]
            want = states.mean(0) if pooling == "mean" else states[-1]
            np.testing.assert_allclose(vector, want.numpy(), atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_text_is_the_same_alone_and_in_company(llama: Path, pooling: str) -> None:
    encoder = make_encoder(f"lm:{llama}", pooling=pooling)
    together = encoder.encode(TEXTS)
    alone = np.vstack([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    assert np.array_equal(encoder.encode(TEXTS[::-1])[::-1], together)
    again = make_encoder(f"lm:{llama}", pooling=pooling).encode(TEXTS)
    assert np.array_equal(again, together)


def test_a_text_longer_than_the_model_is_cut_at_its_end(llama: Path) -> None:
    encoder = make_encoder(f"lm:{llama}")
    one, two, other = encoder.encode(
        ["story " * 80, "story " * 80 + "heat heat", "heat heat " + "story " * 80]
    )
    np.testing.assert_allclose(one, two, atol=1e-6)
    assert not np.allclose(one, other, atol=1e-2)


def test_the_record_holds_no_path(llama: Path) -> None:
    assert make_encoder(f"lm:{llama}").name == "lm:tiny"


def test_missing_weights_are_not_made_up(llama: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "lacking"
    shutil.copytree(llama, folder)
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        HarnessError, match=r"lack the weights layers\.1\..*up_proj\.weight; fetch"
    ) as caught:
        make_encoder(f"lm:{folder}").encode(["story"])
    assert "\n" not in str(caught.value)


def test_a_missing_vocabulary_is_not_made_up(llama: Path, tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=32,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    BertModel(config).save_pretrained(tmp_path / "bare")
    for kind in ("lm", "st"):
        with pytest.raises(HarnessError, match=r"no vocabulary; fetch .*tokenizer\.json") as caught:
            make_encoder(f"{kind}:{tmp_path / 'bare'}").encode(["story"])
        assert "\n" not in str(caught.value)


def test_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    from transformers import T5Config, T5Model

    config = T5Config(
        vocab_size=32,
        d_model=8,
        d_kv=4,
        d_ff=8,
        num_layers=1,
        num_heads=2,
    )
    T5Model(config).save_pretrained(tmp_path / "t5")
    with pytest.raises(HarnessError, match="encoder-decoder; choose a causal model"):
        make_encoder(f"lm:{tmp_path / 't5'}").encode(["story"])


def test_a_writer_continues_each_prompt_alone_and_in_a_batch(llama: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    prompts = [text for text in TEXTS if text]
    writer = make_writer(f"lm:{llama}")
    got = list(writer.write(prompts))
    tokenizer = AutoTokenizer.from_pretrained(llama)
    model = AutoModelForCausalLM.from_pretrained(llama).eval()
    for prompt, text in zip(prompts, got, strict=True):
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        start = ids.shape[1]
        for _ in range(64 - start):  # the likeliest token, one at a time, up to the context
            with torch.no_grad():
                ids = torch.cat([ids, model(ids).logits[:, -1].argmax(-1, keepdim=True)], 1)
            if int(ids[0, -1]) == model.generation_config.eos_token_id:
                break
        said = tokenizer.decode(ids[0, start:], skip_special_tokens=True)
        assert text == (said.strip().splitlines() or [""])[0].strip()
    drawn = [list(writer.write(prompts, seed=seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("name", ["gpt2", "st:x", "lm:"])
def test_a_writer_is_a_causal_model(name: str) -> None:
    with pytest.raises(HarnessError, match="write lm:NAME"):
        make_writer(name)


def test_what_is_wrong_with_a_writer_is_said_of_the_writer(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import T5Config, T5Model

    (tmp_path / "empty").mkdir()
    config = T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=64)
    T5Model(config).save_pretrained(tmp_path / "t5")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(llama / name, tmp_path / "t5" / name)
    full = make_writer(f"lm:{llama}")
    monkeypatch.setattr(
        type(full), "_batch", lambda *_: (_ for _ in ()).throw(RuntimeError("CUDA out of memory"))
    )
    for make, said in (
        (lambda: make_writer("lm:nobody/nothing"), "or use another --writer=lm:NAME"),
        (lambda: make_writer(f"lm:{tmp_path}/none"), "there is no folder"),
        (lambda: make_writer(f"lm:{tmp_path}/empty"), "its folder has no *.safetensors"),
        (lambda: make_writer(f"lm:{tmp_path}/t5")._model, "and is a causal language model"),
        (lambda: make_writer(f"lm:{llama}", "cuda:9")._model, "there is no device 'cuda:9'"),
        (lambda: list(full.write(["a"])), "choose a smaller model, or --device=cpu"),
    ):
        with pytest.raises(HarnessError) as error:
            make()
        told = str(error.value)
        assert told.startswith("--writer=lm:") and said in told, told
        assert "encoder" not in told and "minilm" not in told and "\n" not in told


@pytest.mark.parametrize(
    ("gpu", "option", "device"),
    [(True, [], "cuda"), (False, [], "cpu"), (True, ["--device=cpu"], "cpu")],
)
def test_queries_are_written_on_the_gpu_where_there_is_one(
    gpu: bool, option: list[str], device: str, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def make(name: str, device: str, trust_remote_code: bool) -> None:
        asked.append((name, device, trust_remote_code))
        raise HarnessError("enough")

    monkeypatch.setattr(environment, "lacks", lambda device: not gpu)
    monkeypatch.setattr("recbole_ext.text.writer.make_writer", make)
    argv = ["data", "queries", "tiny", f"--data-path={tiny_path}", *option]
    assert main([*argv, "--writer=lm:x"]) == 2
    assert main([*argv, "--writer=lm:x", "--trust_remote_code=true"]) == 2
    assert asked == [("lm:x", device, False), ("lm:x", device, True)]


def test_a_device_without_a_writer_is_refused(
    tiny_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["data", "queries", "tiny", f"--data-path={tiny_path}"]
    assert main([*argv, "--device=cpu"]) == 2
    assert "are of a --writer=lm:NAME" in capsys.readouterr().err
    assert main([*argv, "--writer=lm:x", "--device=gpu"]) == 2
    assert "--device=gpu must be auto, cpu or cuda" in capsys.readouterr().err


def test_the_embedded_model_writes_by_its_name(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "recbole_ext.text.writer.smollm2", lambda *_: Source(llama, "files:tiny", "smollm2")
    )
    prompts = [text for text in TEXTS if text]
    assert list(make_writer("lm:smollm2").write(prompts)) == list(
        make_writer(f"lm:{llama}").write(prompts)
    )


def test_smollm2_is_a_causal_encoder_whose_fingerprint_has_its_identity_and_pooling(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole_ext.text import encoder as module

    named = {"identity": "gguf:a"}
    monkeypatch.setattr(
        module, "smollm2", lambda *_: Source(llama, named["identity"], "smollm2")
    )  # the tiny model in its place
    mean, last = (make_encoder("smollm2", pooling=pooling) for pooling in ("mean", "last"))
    assert mean.name == last.name == "smollm2"
    for one, pooling in ((mean, "mean"), (last, "last")):
        want = make_encoder(f"lm:{llama}", pooling=pooling).encode(TEXTS)
        np.testing.assert_array_equal(one.encode(TEXTS), want)
    named["identity"] = "gguf:b"
    other = make_encoder("smollm2")
    assert len({mean.fingerprint, last.fingerprint, other.fingerprint}) == 3


def test_smollm2_that_is_not_installed_names_another_encoder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(HarnessError, match=r"encoder smollm2: .* or use --encoder=minilm"):
        make_encoder("smollm2")
