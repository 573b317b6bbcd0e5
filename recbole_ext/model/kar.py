"""KAR: what is said of users and items in words, adapted by a mixture of experts and added to a graph model's vectors."""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.general_recommender.lightgcn import LightGCN
from torch import nn

from recbole_ext.model.simgcl import SimGCL, XSimGCL
from recbole_ext.model.user_text import text_of_nodes

_BACKBONES = {"lightgcn": LightGCN, "simgcl": SimGCL, "xsimgcl": XSimGCL}


class HybridExperts(nn.Module):
    """The adaptor of text vectors of several views (users, items): with experts f_s shared by all views and f_v of view v alone,

        view v: Σ_s g_s f_s(x) + Σ_v g_v f_v(x),  g = softmax(W_v x + b_v),  f: D -> hidden -> d, ReLU and dropout after each.

    Args:
        views: number of views.
        wide: D.
        hidden: width between.
        size: d.
        n_shared: experts of all views.
        n_own: experts of each view.
        dropout: share of numbers that training leaves out.
    """

    def __init__(
        self,
        views: int,
        wide: int,
        hidden: int,
        size: int,
        n_shared: int,
        n_own: int,
        dropout: float,
    ) -> None:
        super().__init__()

        def experts(count: int) -> nn.ModuleList:
            # (.., wide) -> (.., hidden) -> (.., size)
            return nn.ModuleList(
                nn.Sequential(
                    nn.Linear(wide, hidden), nn.ReLU(), nn.Dropout(dropout),
                    nn.Linear(hidden, size), nn.ReLU(), nn.Dropout(dropout),
                )
                for _ in range(count)
            )  # fmt: skip

        self.shared = experts(n_shared)
        self.own = nn.ModuleList(experts(n_own) for _ in range(views))
        self.gates = nn.ModuleList(nn.Linear(wide, n_shared + n_own) for _ in range(views))

    def forward(self, text: torch.Tensor, view: int) -> torch.Tensor:
        """[n, d] of text vectors [n, D] of one view."""
        weights = self.gates[view](text).softmax(1)  # (n, shared + own)
        own = self.own[view]
        assert isinstance(own, nn.ModuleList)
        found = torch.stack([expert(text) for expert in (*self.shared, *own)], 1)  # (n, .., d)
        mixed: torch.Tensor = (weights[:, :, None] * found).sum(1)
        return mixed


class KAR(XSimGCL):
    """Xi, Liu, Lin, Cai, Zhu, Zhu, Chen, Tang, Zhang, Yu, "Towards Open-World Recommendation with Knowledge Augmentation from Large
    Language Models", RecSys 2024: the adaptor as in the authors' code (`HybridExperts`), on the backbones that AlphaRec's paper
    gives it (XSimGCL there).

    Their texts are a language model's: of a user's preference and of an item's facts. Here an item's is the harness's encoding of
    its own text, and a user's is read from `user_profiles`, else the mean over its training items (ours). With `writer` both are
    a language model's, from titles (its prompts are ours).

    How a graph model is given the adapted vectors is not published; ours: they are added to the id vectors before propagation,
    where their CTR models get them as further inputs. Experts end in d numbers for that, in their code in 32. The loss is the
    backbone's (`lightgcn`, `simgcl` or `xsimgcl`, with their keys), in place of their cross entropy of clicks; its L2 is on id
    vectors alone.

    Shapes: nodes [n_users + n_items, d].
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.under = _BACKBONES[config["backbone"]]
        users, items = text_of_nodes(dataset)
        self.register_buffer("user_text", users, persistent=False)
        self.register_buffer("item_text", items, persistent=False)
        self.adapt = HybridExperts(
            2,
            items.shape[1],
            config["expert_hidden"],
            self.latent_dim,
            config["n_shared"],
            config["n_own"],
            config["dropout_prob"],
        )

    def get_ego_embeddings(self) -> torch.Tensor:
        """[n_nodes, d] id vectors and what is said, adapted: what the first layer reads."""
        said = torch.cat([self.adapt(self.user_text, 0), self.adapt(self.item_text, 1)])
        ids: torch.Tensor = super().get_ego_embeddings()
        return ids + said

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Users [n_users, d] and items [n_items, d], as the backbone makes them."""
        return self.under.forward(self)  # type: ignore[no-any-return]

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        """The backbone's."""
        return self.under.calculate_loss(self, interaction)  # type: ignore[no-any-return]
