"""BC loss: LightGCN trained on a contrast whose positives have a margin that popularity sets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from recbole.model.general_recommender.lightgcn import LightGCN
from torch import nn
from torch.nn import functional

from recbole_ext.core.contrastive import mean_log_sum_exp
from recbole_ext.recbole_compat import training_pairs

_EDGE = 1e-7
"""How far from ±1 a cosine stays before its angle is taken, whose slope is infinite there, as in the authors' code."""


class BCLoss(LightGCN):  # type: ignore[misc]
    """Zhang, Ma, Wang, Chua, "Incorporating Bias-aware Margins into Contrastive Loss for Collaborative Filtering", NeurIPS 2022,
    in the form of the authors' code.

    RecBole's LightGCN (the mean of layers 0..K) with another loss. a_u, b_i [d] are vectors of popularity, one for each distinct
    number of training interactions of users and of items. θ_ui is the angle of the final vectors of u and i, M_ui the margin
    1 - σ(a_u·b_i). Over a batch's pairs, the items of the other pairs being the negatives,

        first `pop_epochs` epochs: w InfoNCE_τ₂(cos(a_u, b_i)), of which only the popularity vectors learn; they are frozen then
        L = (1 - w) mean -log( e^{cos(θ_ui + M_ui)/τ₁} / (e^{cos(θ_ui + M_ui)/τ₁} + Σ_j e^{cos θ_uj /τ₁}) )
            + `reg_weight` ½ (|e_u|² + |e_i|²) of the id vectors, the batch's mean

    Scores are plain inner products, although training is on cosines. Switches: `loss` (bc, or bpr: RecBole's LightGCN as it is),
    `margin` (sigmoid, the code's, or angle, the paper's min(ξ_ui, π - θ_ui) with ξ_ui the angle of a_u and b_i).

    Shapes: final vectors [n_users, d] and [n_items, d].
    Deviations:
        * The released class for in-batch negatives stops on an undefined name and leaves the positive in the denominator without
          its margin; here the denominator has it, as in the paper and in their class for sampled negatives.
        * That class weighs the items' L2 by the batch size; here both sides weigh alike, as in their other classes. Theirs on
          popularity vectors is of normalised ones, a constant, and left out, as is w times the frozen term.
        * Epochs are counted in steps; with `pos_sampling: user_uniform` they have as many.
        * `angle` is from general knowledge of the paper, not from code.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.by_bpr = config["loss"] == "bpr"
        if self.by_bpr:
            return
        self.margin = str(config["margin"])
        self.bc_weight: float = config["bc_weight"]
        self.tau1: float = config["tau1"]
        self.tau2: float = config["tau2"]
        per_epoch = math.ceil(len(dataset) / config["train_batch_size"])
        self.warm_steps, self.steps = config["pop_epochs"] * per_epoch, 0
        found = []
        for side, n in zip(training_pairs(dataset), (self.n_users, self.n_items), strict=True):
            degrees, place = np.unique(np.bincount(side, minlength=n), return_inverse=True)
            table = nn.Embedding(len(degrees), self.latent_dim)
            nn.init.xavier_normal_(table.weight)
            found.append((table, torch.from_numpy(place.astype(np.int64))))
        (self.user_pop, of_users), (self.item_pop, of_items) = found
        self.register_buffer("user_degree", of_users, persistent=False)
        self.register_buffer("item_degree", of_items, persistent=False)

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        """That of the phase that training is in; negatives that come with the batch are read by `bpr` only."""
        if self.by_bpr:
            return super().calculate_loss(interaction)  # type: ignore[no-any-return]
        self.restore_user_e = self.restore_item_e = None
        user, item = interaction[self.USER_ID], interaction[self.ITEM_ID]
        warm = self.steps < self.warm_steps
        self.steps += 1
        a = self.user_pop(self.user_degree[user])  # (B, d)
        b = self.item_pop(self.item_degree[item])  # (B, d)
        if not warm:
            a, b = a.detach(), b.detach()
        popular = _Cosines(a, b)
        if warm:
            return self.bc_weight * popular.in_batch(popular.own, self.tau2)
        users, items = self()
        final = _Cosines(users[user], items[item])
        angle = final.own.clamp(-1 + _EDGE, 1 - _EDGE).arccos()  # (B,) θ_ui
        if self.margin == "sigmoid":
            margin = torch.sigmoid(-(a * b).sum(1))  # 1 - σ(a_u·b_i)
        else:
            between = popular.own.clamp(-1 + _EDGE, 1 - _EDGE).arccos()
            margin = torch.minimum(between, math.pi - angle)
        apart = final.in_batch(torch.cos(angle + margin), self.tau1)
        ego = torch.cat([self.user_embedding(user), self.item_embedding(item)])  # (2B, d)
        lengths = ego.square().sum() / 2 / len(user)
        total: torch.Tensor = (1 - self.bc_weight) * apart + self.reg_weight * lengths
        return total


class _Cosines:
    """Of rows [B, d] with rows [B, d]."""

    def __init__(self, one: torch.Tensor, two: torch.Tensor) -> None:
        self.one, self.two = functional.normalize(one, dim=1), functional.normalize(two, dim=1)
        self.own = (self.one * self.two).sum(1)
        """[B] of each with its own."""

    def in_batch(self, positive: torch.Tensor, tau: float) -> torch.Tensor:
        """Mean of -log(e^(p/τ) / (e^(p/τ) + Σ_{j≠i} e^(s_ij/τ))) with positive p [B] in place of s_ii."""
        wanted = positive / tau
        return mean_log_sum_exp(self.one / tau, self.two, wanted) - wanted.mean()
