"""RLMRec: graph models whose vectors are held to what is said of users and items in words."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from recbole_ext.core.contrastive import among, of_picked
from recbole_ext.model.graph import Thinned, Times
from recbole_ext.model.simgcl import SimGCL
from recbole_ext.model.user_text import text_of_nodes


class RLMRec(SimGCL):
    """Ren, Wei, Xia, Su, Cheng, Wang, Yin, Huang, "Representation Learning with Large Language Models for Recommendation",
    WWW 2024, in the form of the authors' code; what its two forms share.

    A node v has an id vector [d] and a text vector s_v [D]. Final vectors e_v are the sum (not the mean) of the id vectors and
    the outputs of layers 1..K. With ℓ(a, b; N) = -cos(a, b)/τ + log Σ_{c in N} e^(cos(a, c)/τ), over the pairs of a batch,

        L = mean softplus(e_u·e_j - e_u·e_i) + `reg_weight` |θ|² + `cl_weight` CL + what text adds

    |θ|² covers every parameter. `backbone: simgcl` has the contrast CL = mean ℓ(e'_u, e''_u; all users) + mean ℓ(e'_i, e''_i; all
    items) between two noisy passes, temperature `tau`, noise as `SimGCL`'s; `lightgcn` has none, and leaves out a share `edge_drop`
    of the graph in each step without scaling up the rest, each direction of an edge by itself.

    Text: s_i is the harness's encoding of the item's text, s_u a vector of the file `user_profiles`, else the mean over the user's
    training items (ours: the paper has a language model write profiles of users and items from reviews; L3AE's authors take
    this mean too). With `writer` both encode what a language model writes from titles (its prompts are ours).

    Shapes: nodes [n_users + n_items, d], text [n_users + n_items, D].
    Deviations: the padding rows 0 are no one's negative. The epoch is chosen by the harness's validation.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.contrasts = config["backbone"] == "simgcl"
        self.edge_drop: float = config["edge_drop"]
        self.register_buffer("text", torch.cat(text_of_nodes(dataset)), persistent=False)
        self._thinned: Thinned | None = None

    def translator(self, wide: int, narrow: int) -> nn.Sequential:
        """Between text and id vectors: wide -> half their sum -> narrow."""
        hidden = (wide + narrow) // 2
        first, last = nn.Linear(wide, hidden), nn.Linear(hidden, narrow)
        for part in (first, last):
            nn.init.xavier_uniform_(part.weight)
        # (.., wide) -> (.., hidden) -> (.., narrow)
        return nn.Sequential(first, nn.LeakyReLU(), last)

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Users [n_users, d] and items [n_items, d] without noise: their inner products are the scores."""
        start = self.get_ego_embeddings()
        return self._parts(sum(self.layers(self.product(start)), start))

    def trained(self, interaction: Any, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(Final vectors [n_nodes, d] of a start [n_nodes, d], the loss but for what text adds)."""
        self.restore_user_e = self.restore_item_e = None
        times: Times = self.product
        if self.edge_drop and not self.contrasts:
            self._thinned = self._thinned or Thinned(self.norm_adj_matrix.by_rows)
            times = self._thinned.draw(self.edge_drop)
        first = times(start)
        final = sum(self.layers(first, times=times), start)
        users, items = self._parts(final)
        user, item = interaction[self.USER_ID], interaction[self.ITEM_ID]
        gap = items[interaction[self.NEG_ITEM_ID]] - items[item]  # (B, d)
        loss = functional.softplus((users[user] * gap).sum(1)).mean()
        loss = loss + self.reg_weight * sum(p.square().sum() for p in self.parameters())
        if self.contrasts:
            one, two = (sum(self.layers(first, self.eps), start) for _ in range(2))
            loss = loss + self.cl_weight * self.contrast(one, two, interaction)
        return final, loss

    def contrast(self, one: torch.Tensor, two: torch.Tensor, interaction: Any) -> torch.Tensor:
        """ℓ between views [n_nodes, d] of the batch's users among all users, and of its items among all items."""
        (users_one, items_one), (users_two, items_two) = self._parts(one), self._parts(two)
        user, item = interaction[self.USER_ID], interaction[self.ITEM_ID]
        return of_picked(users_one, users_two, user, self.tau, users_two[1:]) + of_picked(
            items_one, items_two, item, self.tau, items_two[1:]
        )


class RLMRecCon(RLMRec):
    """The contrastive form: text vectors are mapped to those of nodes by g, D -> (D + d)/2 -> d with LeakyReLU, and

        `kd_weight` mean[ℓ(e_u, g(s_u); all users) + ℓ(e_i, g(s_i); the batch's i) + ℓ(e_j, g(s_j); the batch's j)]

    at temperature `kd_tau` is what text adds to the loss of `RLMRec`; with a weight of 0 it is the backbone. g is read in training only.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.kd_weight: float = config["kd_weight"]
        self.kd_tau: float = config["kd_tau"]
        self.map = self.translator(self.text.shape[1], self.latent_dim)

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        """That of the backbone, and how far its vectors are from what is said."""
        final, loss = self.trained(interaction, self.get_ego_embeddings())
        if not self.kd_weight:
            return loss
        (users, items), (user_text, item_text) = self._parts(final), self._parts(self.text)
        said = self.map(user_text)  # g(s_u): (n_users, d)
        far = of_picked(users, said, interaction[self.USER_ID], self.kd_tau, said[1:])
        for batch in (interaction[self.ITEM_ID], interaction[self.NEG_ITEM_ID]):
            once, counts = batch.unique(return_counts=True)
            said = self.map(item_text[once])  # g(s_i), g(s_j): (at most B, d)
            far = far + among(items[once], said, self.kd_tau, counts=counts)
        total: torch.Tensor = loss + self.kd_weight * far
        return total


class RLMRecGen(RLMRec):
    """The generative form: in each step a random share `mask_ratio` of all nodes has its id vector replaced by one learned
    vector, which starts at 0; propagation, BPR and CL read the masked table, and

        `re_weight` mean over the masked v of ℓ(g'(e_v), s_v; the masked)

    at temperature `re_tau` is what text adds to the loss of `RLMRec`, g' being d -> (D + d)/2 -> D. Nothing is masked when it
    scores.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.mask_ratio: float = config["mask_ratio"]
        self.re_weight: float = config["re_weight"]
        self.re_tau: float = config["re_tau"]
        self.blank = nn.Parameter(torch.zeros(1, self.latent_dim))
        self.map = self.translator(self.latent_dim, self.text.shape[1])

    def masked(self) -> torch.Tensor:
        """[M] nodes to be masked, at least one, no padding among them."""
        nodes = torch.arange(1, self.n_users + self.n_items, device=self.device)
        nodes = nodes[nodes != self.n_users]
        count = max(1, int(len(nodes) * self.mask_ratio))
        return nodes[torch.randperm(len(nodes), device=self.device)[:count]]

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        """That of the backbone on a masked table, and how far text that is made of the masked nodes' vectors is from theirs."""
        hidden = self.masked()
        start = self.get_ego_embeddings().index_copy(0, hidden, self.blank.expand(len(hidden), -1))
        final, loss = self.trained(interaction, start)
        if not self.re_weight:
            return loss
        said = self.text[hidden]  # (M, D)
        total: torch.Tensor = loss + self.re_weight * among(
            self.map(final[hidden]), said, self.re_tau
        )
        return total
