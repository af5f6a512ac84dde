"""The model together with its loss and its optimizer: what a step does, in one process or spread over many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from instructpt.records import Batch
from instructpt.seeds import digest
from instructpt.training import attention, parallel
from instructpt.training.flops import utilisation
from instructpt.training.guard import memory_named
from instructpt.training.loss import weighted_cross_entropy
from instructpt.training.parallel import World
from instructpt.training.schedules import multiplier
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


@dataclass(slots=True)
class Training:
    """A model in training: its loss, its optimizer, and where and how a step is computed."""

    settings: TrainSettings
    model: PreTrainedModel
    learner: Learner
    optimizer: torch.optim.AdamW
    world: World
    execution: Execution

    @staticmethod
    def of(model: PreTrainedModel, settings: TrainSettings, world: World, execution: Execution) -> Training:
        """On its device, or spread over the world."""
        learner = Learner(model, settings, execution)
        with memory_named(execution):
            if world.size > 1:
                parallel.spread(learner, model, world, dtype=learner.dtype)
            model.to(world.device)
        return Training(settings, model, learner, _optimizer(model, settings), world, execution)

    def backward(self, batch: Batch, index: int, weight: float) -> float:
        """Leave the gradient of the step's loss in the parameters; this process's part of the loss.

        weight: of all rows of the step in all processes, by which all parts are divided: neither rows at a time nor the
        number of processes changes the result. A step whose rows happen to hold no target that carries loss (a few
        rows, all of them context) has loss 0 and changes nothing.
        """
        self.model.train()
        # Dropout draws from torch's one stream: set by step, a resumed run draws what an undisturbed one does.
        own = (self.world.rank,) if self.world.rank else ()
        torch.manual_seed(int.from_bytes(digest(self.settings.seed, "dropout", index, *own)[:8], "little"))
        if not weight:
            return 0.0
        num_rows, num_processes, total = len(batch.inputs), self.world.size, 0.0
        part_rows = self.execution.micro_batch_rows or num_rows
        for begin in range(0, num_rows, part_rows):
            part = slice(begin, begin + part_rows)
            parts = [
                torch.from_numpy(array[part]).to(self.world.device)
                for array in (batch.inputs, batch.targets, batch.weights, batch.positions, batch.documents)
            ]
            if num_processes > 1:
                spread: Any = self.learner
                spread.set_requires_gradient_sync(begin + part_rows >= num_rows)
            with (
                parallel.lost_processes_named(self.world),
                memory_named(self.execution, num_rows=len(parts[0])),
            ):
                loss = self.learner(*parts) / weight
                # Gradients are averaged over the processes; what is wanted is their sum.
                (loss * num_processes if num_processes > 1 else loss).backward()
            total += float(loss.detach())
        return total

    def clip(self) -> float:
        """Cut the gradient to the norm of the settings; the norm that it had."""
        with parallel.lost_processes_named(self.world):
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
            return float(parallel.whole(norm))

    def update(self, learning_rate: float) -> None:
        """Take the step that the gradient asks for, and forget the gradient."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        with parallel.lost_processes_named(self.world), memory_named(self.execution):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def learning_rate(self, index: int) -> float:
        """Of a step, counted from 0."""
        settings = self.settings
        return settings.learning_rate * multiplier(
            index + 1,
            steps=settings.steps,
            schedule=settings.schedule,
            warmup_steps=settings.warmup_steps,
            minimum=settings.min_learning_rate_share,
        )

    def utilisation(self, tokens_per_second: float, *, row_tokens: int) -> float | None:
        """Of the device's peak; None where that is unknown, and with LoRA: frozen weights need a third less work."""
        if self.settings.lora:
            return None
        return utilisation(self.model, tokens_per_second=tokens_per_second / self.world.size, row_tokens=row_tokens)


def _optimizer(model: PreTrainedModel, settings: TrainSettings) -> torch.optim.AdamW:
    embeddings = {id(model.get_input_embeddings().weight)}
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim >= 2 and id(p) not in embeddings]
    others = [p for p in trained if p.ndim < 2 or id(p) in embeddings]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)
