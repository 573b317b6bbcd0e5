"""A model that writes the title of one candidate, as a language model would, and sometimes of none."""

from __future__ import annotations

import torch

from recbole_ext_toys.chooser import Chooser


class Generator(Chooser):
    """It names the candidate that `Chooser` likes best; where that item's id is below `mute` it says something else."""

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.mute = config["mute"]

    def choose_candidates(self, interaction, items: torch.Tensor, rules: bool) -> torch.Tensor:
        """[p] columns of `items` [p, m + 1], -1 where what was written is no title of theirs."""
        titles = [[f"item {item}" for item in row] for row in items.tolist()]
        best = self.liking[items].argmax(dim=1).tolist()
        written = [
            "as you wish" if items[row, place] < self.mute else titles[row][place]
            for row, place in enumerate(best)
        ]
        places = [
            own.index(text) if text in own else -1
            for own, text in zip(titles, written, strict=True)
        ]
        return torch.tensor(places)
