"""One hash for what is computed with: the same values give the same hash, whatever file holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch


def content_hash(texts: Mapping[str, bytes], networks: Sequence[Mapping[str, torch.Tensor]]) -> str:
    """SHA-256 of texts, and of tensors by network, name, dtype, shape and bytes.

    Args:
        texts: Contents by name; their order does not matter.
        networks: The tensors of each network by name; the order of the networks matters, that of the names does not.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, content in sorted(texts.items()):
        digest.update(repr((name, len(content))).encode())
        digest.update(content)
    for number, tensors in enumerate(networks):
        known: dict[object, bytes] = {}  # nnU-Net names each tensor about three times
        for name, tensor in sorted(tensors.items()):
            where = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
            if where not in known:
                known[where] = hashlib.sha256(_bytes_of(tensor)).digest()
            digest.update(repr((number, name, str(tensor.dtype), tuple(tensor.shape))).encode())
            digest.update(known[where])
    return digest.hexdigest()


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data
