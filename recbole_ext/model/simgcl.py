"""Graph models that contrast noisy views: SimGCL and XSimGCL, on RecBole's LightGCN."""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.general_recommender.lightgcn import LightGCN
from torch.nn import functional

from recbole_ext.core.contrastive import among
from recbole_ext.core.errors import HarnessError
from recbole_ext.model.graph import Times


class SimGCL(LightGCN):  # type: ignore[misc]
    """Yu, Yin, Xia, Chen, Cui, Nguyen, "Are Graph Augmentations Necessary? Simple Graph Contrastive Learning for
    Recommendation", SIGIR 2022.

    LightGCN whose final vectors are the mean of layers 1..K, without layer 0 (their section 3.2), and

        L = BPR + `reg_weight` |ego|² + `cl_weight` (InfoNCE of users + InfoNCE of items)                     (Eqs. 1, 2)

    between two views of the batch's users and items; in a view each layer's output e gets
    `eps` sign(e) ⊙ u / |u|, u uniform in [0, 1]^d                                                          (Eqs. 5, 6)

    Shapes: nodes [n_users + n_items, embedding_size].
    Deviations: the L2 term is RecBole's `EmbLoss` on the batch's ego vectors, as in its LightGCN.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.eps: float = config["eps"]
        self.cl_weight: float = config["cl_weight"]
        self.tau: float = config["tau"]

    def layers(
        self, first: torch.Tensor, eps: float = 0.0, times: Times | None = None
    ) -> list[torch.Tensor]:
        """K outputs of the layers, each [n_nodes, d], noisy where `eps` is given.

        Args:
            first: [n_nodes, d] output of the first before noise, which clean and noisy passes share.
            eps: length of the noise.
            times: a product with another graph than the training's; None for that.
        """
        times, found = times or self.product, [self._noisy(first, eps)]
        for _ in range(self.n_layers - 1):
            found.append(self._noisy(times(found[-1]), eps))
        return found

    def product(self, nodes: torch.Tensor) -> torch.Tensor:
        """[n_nodes, d] what a layer without noise makes of nodes [n_nodes, d]."""
        found: torch.Tensor = torch.sparse.mm(self.norm_adj_matrix, nodes)
        return found

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Users [n_users, d] and items [n_items, d] without noise: their inner products are the scores."""
        return self._parts(self._mean(self.layers(self.product(self.get_ego_embeddings()))))

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        """BPR, L2 and the contrast between two noisy views."""
        first = self.product(self.get_ego_embeddings())
        one, two = (self._mean(self.layers(first, self.eps)) for _ in range(2))
        contrast = self.contrast(one, two, interaction)
        final = self._parts(self._mean(self.layers(first)))
        return self.backbone(interaction, *final) + self.cl_weight * contrast  # Eq. 1

    def backbone(self, interaction: Any, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """BPR and L2 on final vectors."""
        self.restore_user_e = self.restore_item_e = None
        user, item = interaction[self.USER_ID], interaction[self.ITEM_ID]
        other = interaction[self.NEG_ITEM_ID]
        ranked = self.mf_loss(
            (users[user] * items[item]).sum(1), (users[user] * items[other]).sum(1)
        )
        ego = self.user_embedding(user), self.item_embedding(item), self.item_embedding(other)
        lengths = self.reg_loss(*ego, require_pow=self.require_pow)
        loss: torch.Tensor = ranked + self.reg_weight * lengths
        return loss

    def contrast(self, one: torch.Tensor, two: torch.Tensor, interaction: Any) -> torch.Tensor:
        """InfoNCE between views [n_nodes, d] of the batch's users and of its items, each node once."""
        users, items = interaction[self.USER_ID].unique(), interaction[self.ITEM_ID].unique()
        (users_one, items_one), (users_two, items_two) = self._parts(one), self._parts(two)
        return among(users_one[users], users_two[users], self.tau) + among(
            items_one[items], items_two[items], self.tau
        )

    @staticmethod
    def _mean(layers: list[torch.Tensor]) -> torch.Tensor:
        return sum(layers[1:], layers[0]) / len(layers)

    @staticmethod
    def _noisy(nodes: torch.Tensor, eps: float) -> torch.Tensor:
        if not eps:
            return nodes
        noise = functional.normalize(torch.rand_like(nodes), dim=1)  # (n_nodes, d)
        # Eq. 5 and Eq. 6. Signs ask for no gradient.
        return torch.addcmul(nodes, nodes.detach().sign(), noise, value=eps)

    def _parts(self, nodes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        users, items = torch.split(nodes, [self.n_users, self.n_items])
        return users, items


class XSimGCL(SimGCL):
    """Yu, Xia, Chen, Cui, Hung, Yin, "XSimGCL: Towards Extremely Simple Graph Contrastive Learning for Recommendation",
    TKDE 2023.

    One noisy pass serves both terms: BPR is on its mean of layers, and that mean is contrasted with the output of layer
    `cl_layer` (their l*) of the same pass. Everything else as in `SimGCL`, of which this is the cheaper form.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.cl_layer: int = config["cl_layer"]
        if not 1 <= self.cl_layer <= self.n_layers:
            raise HarnessError(
                f"cl_layer={self.cl_layer} must be from 1 to n_layers={self.n_layers}"
            )

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        """BPR, L2 and the contrast between the mean of the layers and one of them."""
        layers = self.layers(self.product(self.get_ego_embeddings()), self.eps)
        final = self._mean(layers)
        contrast = self.contrast(final, layers[self.cl_layer - 1], interaction)
        return self.backbone(interaction, *self._parts(final)) + self.cl_weight * contrast
