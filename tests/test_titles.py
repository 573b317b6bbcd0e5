"""Models that read titles as they stand: which column, what they are given, what a record says of it."""

from __future__ import annotations

import json

import pytest
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType, ModelType

from recbole_ext.core.errors import HarnessError
from recbole_ext.pipeline.execute import execute
from recbole_ext.pipeline.replay import experiment_of
from recbole_ext.registry import CLOSED_FORM, ModelSpec, rows
from recbole_ext.text import choose_title, item_titles
from tests.problems import make_experiment, train


class Titled(GeneralRecommender):
    """The longer its title, the better an item."""

    type = ModelType.TRADITIONAL
    input_type = InputType.POINTWISE

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.titles = dataset.item_titles
        self.tokens = list(dataset.field2id_token[self.ITEM_ID])
        self.register_buffer("length", torch.zeros(self.n_items))

    def solve(self) -> None:
        self.length.copy_(torch.tensor([float(len(title)) for title in self.titles]))

    def full_sort_predict(self, interaction):
        return self.length.expand(len(interaction[self.USER_ID]), -1).flatten()

    def predict(self, interaction):
        return self.length[interaction[self.ITEM_ID]]


@pytest.fixture(autouse=True)
def there(monkeypatch):
    spec = ModelSpec(name="Titled", target=f"{__name__}:Titled", trainer=CLOSED_FORM, inputs=("item_titles",))  # fmt: skip
    monkeypatch.setitem(rows.MODELS, "Titled", spec)


@pytest.fixture
def shop(tmp_path):
    """Items with a title in one column and more text in others; one has no title."""
    folder = tmp_path / "shop"
    folder.mkdir()
    lines = ["user_id:token\titem_id:token"]
    lines += [f"u{user}\ti{(user + place) % 8}" for user in range(10) for place in range(5)]
    (folder / "shop.inter").write_text("\n".join(lines) + "\n")
    items = ["item_id:token\ttitle:token_seq\tother:token_seq\tcategories:token_seq"]
    items += [f"i{i}\t{'' if i == 3 else f'  lamp   no {i}'}\tchair {i}\tc{i}" for i in range(8)]
    (folder / "shop.item").write_text("\n".join(items) + "\n")
    return tmp_path


def test_a_title_is_found_by_the_usual_names_or_named():
    columns = ["id", "Name", "genre", "movie_title"]
    assert choose_title(columns) == {"Title": "movie_title"}
    assert choose_title(columns, {"title": "Name", "Category": "genre"}) == {"Title": "Name"}
    # Text without a title says nothing of the title.
    assert choose_title(columns, {"Category": "genre"}) == {"Title": "movie_title"}
    with pytest.raises(HarnessError, match=r"no item column holds titles: the columns are id, genre, none of title, "):  # fmt: skip
        choose_title(["id", "genre"], {"Category": "genre"})
    with pytest.raises(HarnessError, match="names the item column 'nam'"):
        choose_title(columns, {"Title": "nam"})
    values = {"t": ["  a \t b ", None, float("nan"), "Yes; No"]}
    assert item_titles(values, {"Title": "t"}) == ["a b", "", "", "Yes; No"]


def test_a_model_is_given_titles_in_its_ids_and_no_encoder(shop, tmp_path):
    fitted = train(make_experiment("Titled", "shop", shop, protocols="full"), tmp_path)
    model = fitted.model
    assert len(model.titles) == 9 and model.titles[0] == "" and model.titles[4] == ""
    for token, title in zip(model.tokens[1:], model.titles[1:], strict=True):
        assert title == ("" if token == "i3" else f"lamp no {token[1:]}")
    assert not hasattr(train(make_experiment("Pop", "shop", shop), tmp_path).bench.dataset, "item_titles")  # fmt: skip


def test_titles_are_in_the_record_and_in_the_id(shop, tmp_path):
    of = make_experiment("Titled", "shop", shop, protocols="full", split="ratio")
    assert set(of.fingerprints()) == {"data", "split", "text"}
    record = execute(of, tmp_path / "runs")
    assert record.text == {"fields": {"Title": "title"}, "coverage": 0.875}
    assert "encoder" not in record.fingerprints and "encoder" not in record.params
    raw = json.loads((tmp_path / "runs" / record.run_id / "record.json").read_text())
    assert raw["text"] == record.text
    named = make_experiment("Titled", "shop", shop, protocols="full", text_fields="{Title: other}")
    assert named.run_id != of.run_id and named.describe() == of.describe()
    again = execute(named, tmp_path / "runs")
    # A repetition reads the column that was read.
    for made, asked in ((record, of), (again, named)):
        replayed = experiment_of(made, shop)
        assert replayed.titles == asked.titles and replayed.run_id == made.run_id


def test_data_without_titles_are_one_line(shop, tmp_path):
    path = shop / "shop" / "shop.item"
    path.write_text(path.read_text().replace("title:", "words:"))
    of = make_experiment("Titled", "shop", shop, protocols="full")
    with pytest.raises(HarnessError, match=r"^shop: no item column holds titles: .* Titled reads item titles$"):  # fmt: skip
        of.fingerprints()
