"""The model together with its loss: what a step runs forward and backward, in one process or spread over many."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from instructpt.training import attention
from instructpt.training.loss import weighted_cross_entropy
from instructpt.training.settings import Execution, TrainSettings

# Tensors: R rows, T tokens a row, H hidden width.


class Learner(torch.nn.Module):
    """A model that gives the loss of rows, so that its output matrix is used inside a forward.

    The loss multiplies by that matrix itself (see `loss`); spread over processes it is whole only in there.
    """

    def __init__(self, model: PreTrainedModel, settings: TrainSettings, execution: Execution) -> None:
        super().__init__()
        self.model = model
        self.dtype = torch.bfloat16 if settings.precision == "bfloat16" else torch.float32
        self._across = settings.attend_across_documents
        # In a list, not registered: the compiled module shares the model's weights and must not name them again.
        self._base: list[Any] = [torch.compile(model.base_model) if execution.compile else model.base_model]
        if execution.checkpoint_activations:
            model.activation_checkpointing_enable({"use_reentrant": False})

    def forward(
        self,
        inputs_RT: torch.Tensor,
        targets_RT: torch.Tensor,
        weights_RT: torch.Tensor,
        positions_RT: torch.Tensor,
        documents_RT: torch.Tensor,
    ) -> torch.Tensor:
        """sum(weights * cross-entropy in nats) of the rows, a float32 scalar."""
        device = inputs_RT.device
        if self._across:
            positions_RT = torch.arange(inputs_RT.shape[1], device=device).expand_as(inputs_RT)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            hidden_RTH = self._base[0](
                input_ids=inputs_RT,
                position_ids=positions_RT,
                cu_seq_lens_q=attention.starts(documents_RT, across=self._across),
                use_cache=False,
            ).last_hidden_state
        return weighted_cross_entropy(
            hidden_RTH.flatten(0, 1),
            self.model.get_output_embeddings().weight,
            targets_N=targets_RT.flatten(),
            weights_N=weights_RT.flatten(),
            dtype=self.dtype,
        )
