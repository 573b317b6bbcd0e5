"""AlphaRec: item text through an MLP, a graph convolution, and a contrastive loss; no embedding of ids."""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import nn
from torch.nn import functional

from recbole_ext.core.contrastive import among, info_nce, picked_scores
from recbole_ext.core.errors import HarnessError
from recbole_ext.model.graph import Bipartite
from recbole_ext.recbole_compat import training_pairs
from recbole_ext.recbole_compat.sampling import Negatives


class AlphaRec(GeneralRecommender):  # type: ignore[misc]
    """Sheng, Zhang, Zhang, Chen, Wang, Chua, "Language Representations Can Be What Recommenders Need: Findings and
    Potentials", ICLR 2025.

    With x_i [D] the text vector of item i and N_u the training items of user u:

        e_i⁰ = W₂ LeakyReLU(W₁ x_i + b₁) + b₂,   e_u⁰ = mean of e_i⁰ over N_u                                (Eq. 1)
        e_uᵏ⁺¹ = Σ_{i∈N_u} e_iᵏ / √(|N_u||N_i|), and likewise for items                                       (Eq. 2)
        e_u, e_i = means over k = 0..K                                                                       (Eq. 3)
        L = -log( e^{s(u,i)/τ} / (e^{s(u,i)/τ} + Σ_{j∈S_u} e^{s(u,j)/τ}) ), s the cosine                      (Eq. 4)

    Switches: `mapping` (mlp | linear, section 2: no bias), `n_layers` (K; 0 is w/o GCN), `loss` (infonce | bpr, which is
    w/o CL: -log σ(s(u,i)/τ - s(u,j)/τ) with one negative), `num_neg` (|S_u|), `tau`, `user_init` (mean_after | mean_before
    the mapping, as the authors' code), `pos_sampling` (user_uniform, as their code: a user uniformly, then one of its
    items; or interaction: each pair once an epoch), `shuffle_text` (rows of text permuted among the items), `encoder`.

    As the authors of L3AE (CIKM 2025) ran it, by their code: `neg_mode: in_batch` (S_u is the items of the batch's pairs, i among them once,
    and an item that is there twice counts twice), `reg_weight` (that times |θ|² is added), `unit_scores: false` (scores are
    inner products of vectors as they come, trained on cosines all the same), with `user_init: mean_before`, `pos_sampling:
    interaction` and `embedding_size: 32`.

    Co-trained on several datasets (appendix C.3.1): their graphs are apart, and negatives are of the positive's dataset.
    No parameter belongs to a user or an item, so the mapping moves to another dataset as it is: its users start from their
    training items there, and its graph is its training part.

    Shapes: item text [items, D], users and items [.., embedding_size].

    Deviations, and what the paper leaves open:
        * S_u is drawn with replacement and anew in each step, as their code does; the loss is the batch's mean.
        * The MLP's width is half of D, the paper's ratio of 1,536 to 3,072, unless `hidden_size` gives it. Their code widens
          it for shorter vectors so that the number of parameters stays about the same.
        * With `user_uniform` users are drawn independently; their code walks through a permutation, so that each user comes
          equally often in an epoch. An epoch has as many draws as pairs; their code drops the last, partial batch.
        * The epoch is chosen by validation; in their code the choice reads the test part.
        * With `in_batch` their code adds 1e-8 under the root of each length, here lengths are exact; and it draws weights from
          Xavier's distribution, here from PyTorch's usual one, as in the other mode.
        * `bpr` is on the same cosines and the same τ; the paper does not say which similarity its ablation uses.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.n_layers: int = config["n_layers"]
        self.num_neg: int = config["num_neg"]
        self.tau: float = config["tau"]
        self.loss = str(config["loss"])
        self.user_init = str(config["user_init"])
        self.in_batch = config["neg_mode"] == "in_batch"
        self.reg_weight: float = config["reg_weight"]
        self.unit_scores: bool = config["unit_scores"]
        if self.in_batch and self.loss != "infonce":
            raise HarnessError(
                f"--neg_mode=in_batch is of --loss=infonce; --loss={self.loss} has one sampled negative: --neg_mode=sampled"
            )
        pairs, sizes = training_pairs(dataset), (self.n_users, self.n_items)
        self.graph = Bipartite(*pairs, *sizes, device=self.device)
        if not self.in_batch:
            blocks = dataset.item_blocks
            self.negatives = Negatives(*pairs, *sizes, blocks=blocks, device=self.device)
        elif dataset.item_blocks is not None:
            raise HarnessError(
                "--neg_mode=in_batch takes a pair's negatives from all that are in its batch, but with --train they are of its "
                "own dataset only: --neg_mode=sampled"
            )
        text = dataset.item_vectors.float()
        if config["shuffle_text"]:
            drawn = torch.Generator().manual_seed(config["seed"])
            text = torch.cat([text[:1], text[1:][torch.randperm(len(text) - 1, generator=drawn)]])
        self.register_buffer("text", text, persistent=False)
        self.map = self.mapping(config, text.shape[1])
        self._known: tuple[torch.Tensor, torch.Tensor] | None = None

    def mapping(self, config: Any, wide: int) -> nn.Module:
        """From text vectors [.., wide] to [.., embedding_size]."""
        size = config["embedding_size"]
        if config["mapping"] == "linear":
            return nn.Linear(wide, size, bias=False)
        hidden = config["hidden_size"] or max(1, wide // 2)
        # W₂ LeakyReLU(W₁ x + b₁) + b₂: (.., wide) -> (.., hidden) -> (.., size)
        return nn.Sequential(nn.Linear(wide, hidden), nn.LeakyReLU(), nn.Linear(hidden, size))

    def mapped(self, text: torch.Tensor) -> torch.Tensor:
        """[n, D] -> [n, d], in the precision of `text` under mixed precision too: the graph's sums need it."""
        return self.map(text).to(text.dtype)  # type: ignore[no-any-return]

    def start(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Users [n_users, d] and items [n_items, d] before propagation."""
        if self.user_init == "mean_before":
            return self._mapped_means()
        items = self.mapped(self.text)  # Eq. 1, items: (n_items, D) -> (n_items, d)
        return self.graph.mean(items), items  # Eq. 1, users: (n_users, d)

    def _mapped_means(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The map of each user's mean text, and of each item's text.

        A linear layer of the mean is the mean of the linear layer, which so is asked of the items alone: users are more, and it is
        the wide one.
        """
        layers: list[Any] = list(self.map) if isinstance(self.map, nn.Sequential) else [self.map]
        said, bias = self.text, None
        if isinstance(layers[0], nn.Linear):
            wide = layers.pop(0)
            said, bias = functional.linear(self.text, wide.weight).to(self.text.dtype), wide.bias
        nodes = torch.cat([self.graph.mean(said), said])  # (n_users + n_items, hidden)
        if bias is not None:
            nodes = nodes + bias
        for layer in layers:
            nodes = layer(nodes)
        nodes = nodes.to(said.dtype)
        return nodes[: self.n_users], nodes[self.n_users :]

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Users [n_users, d] and items [n_items, d], of length 1 where `unit_scores`: their inner products are the scores."""
        return self.propagated(*self.start())

    def propagated(
        self, users: torch.Tensor, items: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What a start becomes: users [n_users, d] and items [n_items, d]."""
        users, items = self.graph.convolve(users, items, self.n_layers)  # Eq. 2 and Eq. 3
        if not self.unit_scores:
            return users, items
        return functional.normalize(users, dim=1), functional.normalize(items, dim=1)

    def intending(
        self, users: torch.Tensor, queries: torch.Tensor, alpha: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`forward` with ẽ_u⁰ = (1-α) e_u⁰ + α e_query for some users (section 4.3); nothing is trained.

        Args:
            users: [B] ids.
            queries: [B, D] text vectors of what each of them asks for.
            alpha: 0 leaves them as they are, 1 forgets their items at the start.
        """
        before, items = self.start()
        start = before.clone()
        # (B, d): section 4.3's ẽ_u⁰, which has no number
        start[users] = (1 - alpha) * before[users] + alpha * self.mapped(queries)
        return self.propagated(start, items)

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        """The loss over a batch of B pairs, which the loader draws as `pos_sampling` says."""
        self._known = None
        user, item = interaction[self.USER_ID], interaction[self.ITEM_ID]
        users, items = self()
        found = self.contrasted(user, item, users, items)
        if not self.reg_weight:
            return found
        squares = torch.stack([p.square().sum() for p in self.parameters()])
        return found + self.reg_weight * squares.sum()

    def contrasted(
        self, user: torch.Tensor, item: torch.Tensor, users: torch.Tensor, items: torch.Tensor
    ) -> torch.Tensor:
        """The loss of pairs [B] against their negatives, of users [n_users, d] and items [n_items, d]."""
        if self.in_batch:
            return among(users[user], items[item], self.tau)
        if not self.unit_scores:
            users, items = functional.normalize(users, dim=1), functional.normalize(items, dim=1)
        user_rows = users[user]  # (B, d)
        positive = (user_rows * items[item]).sum(1)  # (B,) s(u, i), vectors being of length 1
        count = self.num_neg if self.loss == "infonce" else 1
        drawn = self.negatives(user, count)  # (B, |S_u|)
        negative = picked_scores(user_rows, items, drawn)  # (B, |S_u|) s(u, j)
        if self.loss == "infonce":
            return info_nce(positive, negative, self.tau)  # Eq. 4
        return functional.softplus((negative[:, 0] - positive) / self.tau).mean()

    def fold_in(self, dataset: Any) -> None:
        """Users are made of their items in `dataset` from now on; items stay what the training graph makes of them."""
        self.graph, self._known = self.graph.folding_in(*training_pairs(dataset)), None

    def _final(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self._known is None:
            self._known = self()
        return self._known

    def predict(self, interaction: Any) -> torch.Tensor:
        """[B] scores of pairs."""
        users, items = self._final()
        return (users[interaction[self.USER_ID]] * items[interaction[self.ITEM_ID]]).sum(1)

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """[B * n_items] scores of users with every item."""
        users, items = self._final()
        return (users[interaction[self.USER_ID]] @ items.T).view(-1)

    def load_other_parameter(self, para: Any) -> None:
        """Called after other weights were loaded: what was computed from the old ones is forgotten."""
        self._known = None
        super().load_other_parameter(para)
