"""The model together with its loss and its optimizer: what a step does, in one process or spread over many.

The loss is computed without the logits of a batch: cross-entropy of the places that carry loss, a few hundred at a
time. The logits of a batch are its largest tensor by far (8 x 512 tokens and 8,192 ids: 134 MB, several times over in
the backward pass). Here a chunk of them lives just long enough to give its loss and its gradients; places without loss
are left out before the first product. With 4,096 tokens, width 256 and 8,192 ids one CPU core takes 205 ms for it in
bfloat16, 456 ms the plain way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from instructpt.records import Batch
from instructpt.seeds import digest
from instructpt.training import attention, parallel
from instructpt.training.guard import memory_named
from instructpt.training.parallel import World
from instructpt.training.settings import Execution, TrainSettings, multiplier
from instructpt.training.shapes import utilisation

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


# Tensors: N places, H hidden width, V vocabulary, C places of a chunk.

_CHUNK_BYTES = {"cpu": 2**23, "cuda": 2**29}
"""float32 logits a chunk: what a CPU's cache holds; what keeps a GPU busy."""
_MIN_CHUNK = 256
"""Places a chunk, however large the vocabulary: with fewer a product of 49,152 ids runs at half of a CPU's speed."""


def weighted_cross_entropy(
    hidden_NH: torch.Tensor,
    head_VH: torch.Tensor,
    *,
    targets_N: torch.Tensor,
    weights_N: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor:
    """sum(weights * cross-entropy in nats) of `hidden @ head.T` against `targets`, in float32; a scalar.

    dtype: in which the products are taken; logits and their softmax are float32 always.
    """
    carries = weights_N.nonzero().flatten()
    loss: torch.Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_NH[carries], head_VH, targets_N[carries], weights_N[carries], dtype
    )
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradients are made in the forward pass, chunk by chunk, while its logits are at hand."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: torch.Tensor,
        head_VH: torch.Tensor,
        targets_N: torch.Tensor,
        weights_N: torch.Tensor,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        head = head_VH.to(dtype)
        loss = torch.zeros((), dtype=torch.float32, device=hidden_NH.device)
        hidden_gradient_NH = torch.empty_like(hidden_NH)
        head_gradient_VH = torch.zeros_like(head_VH) if ctx.needs_input_grad[1] else None
        budget = _CHUNK_BYTES["cpu" if hidden_NH.device.type == "cpu" else "cuda"]
        chunk = max(_MIN_CHUNK, budget // (4 * head.shape[0]))
        for begin in range(0, hidden_NH.shape[0], chunk):
            place = slice(begin, begin + chunk)
            hidden_CH, target_C1 = hidden_NH[place].to(dtype), targets_N[place, None]
            weight_C1 = weights_N[place, None].float()
            scores_CV = torch.log_softmax((hidden_CH @ head.T).float(), dim=1)
            loss -= (scores_CV.gather(1, target_C1) * weight_C1).sum()
            gradient_CV = scores_CV.exp_()  # d loss / d logits = weight * (softmax - one at the target)
            gradient_CV.scatter_add_(1, target_C1, torch.full_like(weight_C1, -1.0))
            gradient = gradient_CV.mul_(weight_C1).to(dtype)
            hidden_gradient_NH[place] = gradient @ head
            if head_gradient_VH is not None:
                head_gradient_VH += gradient.T @ hidden_CH
        ctx.save_for_backward(hidden_gradient_NH, head_gradient_VH)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None, None, None]:
        hidden_gradient_NH, head_gradient_VH = ctx.saved_tensors
        head_gradient = None if head_gradient_VH is None else head_gradient_VH * gradients[0]
        return hidden_gradient_NH * gradients[0], head_gradient, None, None, None
