"""Many processes that train one model: who they are, how the weights are spread over them, what they agree on.

    torchrun --nproc-per-node 4 ...        a batch of 8 rows                 weights, gradients, moments (FSDP2)
      rank 0                               rows 0 1                          rows 0 ... 1/4 of every matrix
      rank 1                               rows 2 3                          the next quarter
      rank 2                               rows 4 5                          ...
      rank 3                               rows 6 7

Each process computes the loss of its own rows with whole layers, which it gathers when it comes to them and lets go of
after; gradients are summed over all rows of the step. With `shard_size` the weights are spread within groups of that
many processes (the accelerators of one machine, say) and kept once a group: more memory, less traffic between machines.

A run without torchrun is a world of one process, which touches none of this: its bytes are those of plain training.
What is learned is the same in any world, to the last bits of float sums.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from instructpt import devices
from instructpt.errors import InputError, RecipeError, TrainingError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TIMEOUT = timedelta(minutes=30)
"""How long a process waits for the others before it gives them up: longer than a slow disk needs for a checkpoint."""
_TRAININGS = itertools.count()
"""Numbers those that this process takes part in: all processes of a command take part in the same ones."""


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a run, as one of them sees them."""

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh | None = None
    """How they share the weights; None for a world of one."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sum over all processes of each number. Every process must call it."""
        if self.size == 1:
            return [float(value) for value in values]
        total = torch.tensor(values, dtype=torch.float64)
        with lost_processes_named(self):
            dist.all_reduce(total)
        return [float(value) for value in total]

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.size > 1:
            with lost_processes_named(self):
                dist.barrier()


@contextmanager
def joined(device: str, *, shard_size: int | None = None) -> Iterator[World]:
    """The world that torchrun made, for the duration; without torchrun a world of one.

    device: as in `devices.find`; with several accelerators each process takes its own. shard_size: processes that share
    one copy of the weights; all by default. Raises RecipeError for a shard size that does not divide the world.
    """
    size = devices.num_processes()
    if size == 1:
        yield World(0, 1, devices.find(device))
        return
    place = devices.find(device)
    if place.type == "cuda":
        place = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(place)
    if shard_size is not None and (shard_size < 1 or size % shard_size):
        raise RecipeError(f"shard_size is {shard_size} of {size} processes: give a divisor of their number")
    # Two backends: what is agreed on are numbers in host memory, whatever the weights are on.
    backend = "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo"
    store, rank, _ = next(rendezvous("env://", timeout=TIMEOUT))
    # A command may train several models, one after the other. In one store they must not find each other's addresses.
    store = PrefixStore(f"training-{next(_TRAININGS)}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    try:
        shared = shard_size or size
        if shared == size:
            mesh = init_device_mesh(place.type, (size,), mesh_dim_names=("shard",))
        else:
            mesh = init_device_mesh(place.type, (size // shared, shared), mesh_dim_names=("replicate", "shard"))
        yield World(dist.get_rank(), size, place, mesh)
    finally:
        dist.destroy_process_group()


def spread(learner: torch.nn.Module, model: PreTrainedModel, world: World, *, dtype: torch.dtype) -> None:
    """Spread the weights of `model`, inside `learner`, over the world, a layer at a time.

    dtype: in which layers compute and are gathered; gradients are summed in float32. What is not in a layer (the table
    of embeddings, the last norm, the output) belongs to `learner`, whose forward sees it whole.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    assert world.mesh is not None
    exact = MixedPrecisionPolicy(reduce_dtype=torch.float32, cast_forward_inputs=False)
    # Inputs are left as they are: the stream between layers is float32, as in one process under autocast.
    fast = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layer in layers(model):
        fully_shard(layer, mesh=world.mesh, mp_policy=exact if dtype == torch.float32 else fast)
    fully_shard(learner, mesh=world.mesh, mp_policy=exact, reshard_after_forward=False)


def layers(model: PreTrainedModel) -> torch.nn.ModuleList:
    """The model's layers. Raises InputError where it has no list of them."""
    lists = [module for module in model.base_model.children() if isinstance(module, torch.nn.ModuleList)]
    if not lists:
        raise InputError(f"{model.config.model_type} has no list of layers: train it in one process, without torchrun")
    return max(lists, key=len)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A spread tensor in one piece, on every process (all must call it); any other as it is."""
    gather: Any = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


@contextmanager
def lost_processes_named(world: World) -> Iterator[None]:
    """What is raised when another process is gone, as one line that says what to do."""
    try:
        yield
    except (dist.DistError, RuntimeError) as error:
        if world.size == 1 or not _is_loss(error):
            raise
        raise TrainingError(
            f"process {world.rank} of {world.size} cannot reach the others: one was killed or its machine is gone; "
            "the same command goes on from the last checkpoint, with any number of processes"
        ) from error


def _is_loss(error: BaseException) -> bool:
    words = ("Connection closed by peer", "Connection reset by peer", "Timed out", "Broken pipe", "Socket closed")
    return isinstance(error, dist.DistError) or any(word in str(error) for word in words)
