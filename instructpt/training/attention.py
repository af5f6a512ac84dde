"""Attention that stays inside a document, for rows that hold several.

    row      | the  cat  sat </s> | <s>  dogs  bark | ....  |     documents  0 0 0 0 1 1 1 -1
    cat            *
    dogs     does not see "sat"     *    *                         starts     0       4     7   8

The rows of a batch lie end to end, and each document is attended to by itself: its tokens see those before them in the
same document and nothing else. No mask is built, so the work is the sum of the squares of the documents' lengths
instead of the rows'. Unused places at the end of a row are a document of their own, so that nothing divides by zero.

The function is known to transformers under `NAME`; a model calls it in every layer with the starts that `train` hands
to the model as `cu_seq_lens_q`, the argument that transformers has for rows packed end to end. (Restarting
`position_ids` alone does not isolate documents there: it does only without a cache and without a mask.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from instructpt.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Tensors: R rows, T tokens a row, N = R * T, H heads, K key heads (a divisor of H), W width of a head.

NAME = "instructpt_documents"


def starts(documents_RT: torch.Tensor, *, across: bool) -> torch.Tensor:
    """Where each document starts in the rows laid end to end, and the end of the last: int32 [num_documents + 1].

    documents_RT: which document of its row a place belongs to, -1 where unused. across: whether a whole row counts as
    one document.
    """
    num_rows, row_tokens = documents_RT.shape
    begins_RT = torch.ones_like(documents_RT, dtype=torch.bool)
    begins_RT[:, 1:] = False if across else documents_RT[:, 1:] != documents_RT[:, :-1]
    begins_N = begins_RT.flatten().nonzero().flatten()
    end = torch.tensor([num_rows * row_tokens], device=begins_N.device)
    return torch.cat([begins_N, end]).to(torch.int32)


@contextmanager
def within_documents(model: PreTrainedModel) -> Iterator[None]:
    """For the duration, `model` attends by `documents_attention`; its forward needs `cu_seq_lens_q` then."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, documents_attention)
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def documents_attention(
    module: torch.nn.Module,
    query_RHTW: torch.Tensor,
    key_RKTW: torch.Tensor,
    value_RKTW: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within documents, in the form that transformers calls; gives [R, T, H, W] and no weights.

    cu_seq_lens_q: what `starts` gave. Half precision on a GPU takes one flash-attention call over all documents;
    everything else takes one call a document. Raises InputError for models whose attention is more than a softmax of
    products, or that do not pass `cu_seq_lens_q` on.
    """
    del module
    assert attention_mask is None
    extras = [name for name in ("softcap", "s_aux", "position_bias") if others.get(name) is not None]
    if extras or cu_seq_lens_q is None:
        trouble = f"uses {', '.join(extras)}" if extras else "does not pass cu_seq_lens_q on"
        raise InputError(f"this model's attention {trouble}: take another base model")
    num_rows, num_heads, row_tokens, width = query_RHTW.shape
    dtype = value_RKTW.dtype  # under autocast the rotation leaves queries and keys in float32
    query_NHW, key_NKW, value_NKW = (
        x.transpose(1, 2).reshape(num_rows * row_tokens, x.shape[1], width) for x in (query_RHTW, key_RKTW, value_RKTW)
    )
    if value_NKW.is_cuda and dtype in (torch.bfloat16, torch.float16) and not dropout:
        from torch.nn.attention.varlen import varlen_attn

        output_NHW = varlen_attn(
            query_NHW.to(dtype),
            key_NKW.to(dtype),
            value_NKW,
            cu_seq_lens_q,
            cu_seq_lens_q,
            row_tokens,
            row_tokens,
            scale=scaling,
            window_size=(-1 if sliding_window is None else sliding_window - 1, 0),
            enable_gqa=key_NKW.shape[1] != num_heads,
        )
        assert isinstance(output_NHW, torch.Tensor)
    else:
        output_NHW = _one_by_one(
            query_NHW, key_NKW, value_NKW, cu_seq_lens_q, dropout=dropout, scaling=scaling, window=sliding_window
        )
    return output_NHW.reshape(num_rows, row_tokens, num_heads, width), None


@torch.compiler.disable  # type: ignore[untyped-decorator]  # lengths differ in every batch: each would be compiled anew
def _one_by_one(
    query_NHW: torch.Tensor,
    key_NKW: torch.Tensor,
    value_NKW: torch.Tensor,
    starts_D: torch.Tensor,
    *,
    dropout: float,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    dtype = value_NKW.dtype
    repeats = query_NHW.shape[1] // key_NKW.shape[1]
    if repeats > 1:
        key_NKW, value_NKW = (x.repeat_interleave(repeats, dim=1) for x in (key_NKW, value_NKW))
    lengths = starts_D.diff().tolist()
    with torch.autocast(query_NHW.device.type, enabled=False):
        # float32: torch's bfloat16 kernel for CPUs is the slower one (67 against 39 ms for 8 x 512 tokens, 4 heads).
        exact = torch.float32 if value_NKW.device.type == "cpu" else dtype
        whole = [x.to(exact) for x in (query_NHW, key_NKW, value_NKW)]
        outputs = []
        for parts in zip(*(torch.split(x, lengths) for x in whole), strict=True):
            query, key, value = (part.transpose(0, 1)[None] for part in parts)
            length = query.shape[2]
            mask = None
            if window is not None and window < length:
                mask = torch.ones(length, length, dtype=torch.bool, device=query.device).tril().triu(1 - window)
            output = scaled_dot_product_attention(
                query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=mask is None, scale=scaling
            )
            outputs.append(output[0].transpose(0, 1))
    return torch.cat(outputs).to(dtype)
