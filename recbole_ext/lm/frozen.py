"""A model of Hugging Face held still: vectors in, hidden states and attention out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

from recbole_ext.core.errors import HarnessError
from recbole_ext.lm.batches import widened
from recbole_ext.lm.pooling import pool
from recbole_ext.lm.source import Source

if TYPE_CHECKING:
    from torch import Tensor, nn


def identity_of(source: Source, kind: str, dtype: str) -> dict[str, Any]:
    """What decides the numbers of a backbone, as JSON."""
    return {"source": source.identity, "kind": kind, "dtype": dtype}


class Frozen:
    """What a causal model and an encoder have in common; `lm/backbone.py` says what each member is."""

    generative: bool
    _pooling: str

    def __init__(
        self,
        name: str,
        source: Source,
        tokenizer: Any,
        model: Any,
        kind: str,
        mixed: bool = False,
    ) -> None:
        self.name = name
        self.mixed = mixed
        """Products in bfloat16 of weights that are kept in float32."""
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.device = model.device
        embeddings = model.get_input_embeddings()
        self.width = int(embeddings.weight.shape[1])
        dtype = "mixed" if mixed else str(model.dtype).removeprefix("torch.")
        self.identity = identity_of(source, kind, dtype)
        known = (
            getattr(model.config.get_text_config(), "max_position_embeddings", None),
            getattr(tokenizer, "model_max_length", None),
        )
        # A tokenizer without a limit says 10^30.
        self.context = min(int(limit) for limit in (*known, 1 << 20) if limit)
        before, after = _frame(tokenizer)
        # What a causal tokenizer ends a text with says that the text is over: no answer follows it.
        self.frame = (before, [] if self.generative else after)
        ends = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
        self.filler = int(next(token for token in ends if token is not None))

    def products(self) -> AbstractContextManager[None]:
        """What every pass through the model is made in: its own precision, or bfloat16 where it is `mixed`."""
        import torch

        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)

    def run(self, module: Any, embeds: Tensor, **options: Any) -> Any:
        """What the model, or its `base`, says of input embeddings [B, T, d], which are cast to its dtype."""
        with self.products():
            return module(inputs_embeds=embeds.to(self.model.dtype), **options)

    @property
    def base(self) -> Any:
        """The model without its read-out."""
        return self.model.base_model

    @cached_property
    def layers(self) -> nn.ModuleList:
        """The stack of its layers.

        Raises:
            HarnessError: it has no list of as many modules as its configuration has layers.
        """
        from torch import nn

        count = self.model.config.get_text_config().num_hidden_layers
        for module in self.base.modules():
            if isinstance(module, nn.ModuleList) and len(module) == count:
                return module
        raise HarnessError(
            f"backbone {self.name}: its layers are not found; choose a model of another architecture"
        )

    def tokenise(self, text: str, literal: bool = False) -> list[int]:
        """Token ids of `text`, none added.

        Args:
            text: any text.
            literal: read a special token that is written out in it as the letters that it is, as in a title.
        """
        ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=literal)
        return list(ids["input_ids"])

    def chat(self, system: str | None, user: str) -> str:
        """The two messages in the model's own chat template, up to where its answer begins.

        Raises:
            HarnessError: it has no chat template.
        """
        if not getattr(self.tokenizer, "chat_template", None):
            raise HarnessError(
                f"backbone {self.name}: it has no chat template; use a template with chat: false"
            )
        said = [{"role": "user", "content": user}]
        if system is not None:
            said.insert(0, {"role": "system", "content": system})
        text = self.tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        # A template may write the token that the frame begins every prompt with; once is enough.
        first = self.tokenizer.bos_token
        framed = self.frame[0] == [self.tokenizer.bos_token_id]
        return str(text).removeprefix(first) if first and framed else str(text)

    def embed(self, ids: Tensor) -> Tensor:
        """[B, T] token ids -> [B, T, d] input embeddings, without positions."""
        return cast("Tensor", self.model.get_input_embeddings()(ids))

    def states(self, embeds: Tensor, mask: Tensor, layer: int = -1) -> Tensor:
        """Hidden states.

        Args:
            embeds: [B, T, d] input embeddings, cast to the model's dtype; a gradient passes through.
            mask: [B, T], nonzero where there is a token, on the left of every row.
            layer: 0 to the number of layers, 0 being the input of the first; -1 is the last after the final norm.

        Returns:
            [B, T, d] in the model's dtype.
        """
        return self._states(*widened(embeds, mask, self.context), layer)[:, : mask.shape[1]]

    def _states(self, embeds: Tensor, mask: Tensor, layer: int = -1) -> Tensor:
        """`states`, of just these tokens."""
        options: dict[str, Any] = {} if layer == -1 else {"output_hidden_states": True}
        if self.generative:
            options["use_cache"] = False
        out = self.run(self.base, embeds, attention_mask=mask.long(), **options)
        return cast("Tensor", out.last_hidden_state if layer == -1 else out.hidden_states[layer])

    def read(self, embeds: Tensor, mask: Tensor) -> Tensor:
        """[B, d] float32, the state that an answer is read from: of the last token, or the mean over tokens."""
        return pool(self.states(embeds, mask), mask, self._pooling)

    def attention(self, embeds: Tensor, mask: Tensor, layers: Sequence[int]) -> Tensor:
        """How much is attended to each token from where the answer is read, without a gradient.

        Args:
            embeds: [B, T, d].
            mask: [B, T], as for `states`.
            layers: which, counted from 1.

        Returns:
            [len(layers), B, T] float32, mean over heads: of the last token's attention, or of the mean over
            the tokens that attend. Rows sum to 1; padding has 0.

        Raises:
            HarnessError: a layer that is not there, or one that does not tell its attention.
        """
        import torch

        seen: dict[int, Tensor] = {}
        query = mask != 0

        def take(layer: int, module: nn.Module, given: object, output: object) -> None:
            weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
            if isinstance(weights, torch.Tensor) and weights.shape[::2] == embeds.shape[:2]:
                mean = weights.float().mean(dim=1)  # [B, T, T] over heads: query, key
                seen[layer] = pool(mean, query, self._pooling)

        hooks = []
        with self._eager(), torch.no_grad():
            try:
                for layer in set(layers):
                    if not 1 <= layer <= len(self.layers):
                        raise HarnessError(
                            f"backbone {self.name}: there is no layer {layer}; "
                            f"its layers are 1 to {len(self.layers)}"
                        )
                    # Whichever module of the layer it is that hands on its weights: names differ.
                    for module in self.layers[layer - 1].modules():
                        hooks.append(module.register_forward_hook(partial(take, layer)))
                self._states(embeds, mask)
            finally:
                for hook in hooks:
                    hook.remove()
        if len(seen) < len(set(layers)):
            raise HarnessError(
                f"backbone {self.name}: its layers do not tell their attention; choose another model"
            )
        return torch.stack([seen[layer] for layer in layers])

    def checkpoint(self) -> None:
        """Keep only each layer's input for the backward pass, and compute the layer again there.

        "Ours": transformers' own switch acts in training mode only, where a frozen model would draw dropout.
        """
        from torch.utils.checkpoint import checkpoint

        for layer in self.layers:
            layer.forward = _checkpointed(checkpoint, layer.forward)

    @contextmanager
    def _eager(self) -> Iterator[None]:
        """The fused kernels never form the attention weights; the plain one does, for this block."""
        usual = self.model.config._attn_implementation
        self.model.set_attn_implementation("eager")
        try:
            yield
        finally:
            self.model.set_attn_implementation(usual)


def _frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What the tokenizer itself puts before and after a text."""
    plain = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    whole = list(tokenizer("a")["input_ids"])
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return whole[:start], whole[start + len(plain) :]
    return [], []


def _checkpointed(checkpoint: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
    import torch

    def run(*given: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*given, **named)
        return checkpoint(forward, *given, use_reentrant=False, **named)

    return run
