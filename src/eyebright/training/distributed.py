"""Several processes that train one model: each computes on its share of every batch, then their gradients are summed.

`torchrun --nproc-per-node N -m eyebright train ...` starts them, `joined` brings them together. Messages go through
torch.distributed: gloo between CPUs, NCCL between GPUs.

The summed gradients, the counts of an epoch and the answers about validation images are the same in all processes, so
all take the same steps and decisions; only the first one writes.

Torch's DistributedDataParallel is not used, though it sends gradients while others are still computed. It assigns them
to messages anew after the first step of a process, so from three processes on a resumed training would sum in another
order than one that was left alone. And it fixes at its beginning which parameters learn, where stages are frozen and
unfrozen here. Models of this size spend little of a step on sending.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import itertools
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.modules.batchnorm import _BatchNorm

from eyebright.core.device import Plan
from eyebright.core.errors import DeviceError, ModelError, ProcessError
from eyebright.core.settings.training import Views
from eyebright.data.image_set import ImageSet
from eyebright.evaluation.predict import predict
from eyebright.evaluation.predictions import Predictions
from eyebright.models.classifier import Classifier

# How long processes wait for the first one, which may be downloading or decoding; a process that died is noticed at
# once, since its connections close.
_PATIENCE = datetime.timedelta(days=1)
# The same once training was interrupted: shorter than the 30 s that torchrun gives before it kills.
_GRACE = datetime.timedelta(seconds=20)
# Of one message: large enough that its start-up costs nothing beside it, small enough to need little memory.
_MESSAGE_BYTES = 25 << 20

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class World:
    """The processes that train together, as one of them sees it; by default it is alone.

    Attributes
    ----------
    rank, size : this is process `rank` (from 0) of `size`.
    local_rank : the same among the processes of this machine; decides the GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def control(self) -> dist.ProcessGroup:
        """Group of all processes for messages between CPUs, whatever computes; there must be several."""
        return _control(cast("dist.ProcessGroup", dist.group.WORLD))

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @property
    def share(self) -> tuple[int, int]:
        """The share of each batch, as of `Batches`."""
        return self.rank, self.size

    @property
    def draws(self) -> tuple[int, ...]:
        """What to add to the position of a random stream, so that each process draws its own."""
        return (self.rank,) if self.rank else ()

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.size > 1:
            dist.barrier(self.control)

    @contextlib.contextmanager
    def first_ahead(self) -> Iterator[None]:
        """Let the first process of each machine do this alone; the others do it then, and find what it made."""
        if self.local_rank > 0:
            self.wait()
        yield
        if self.local_rank == 0:
            self.wait()

    def once(self, make: Callable[[], T]) -> T:
        """What `make` gives in the first process; it is called in no other."""
        return cast("T", self.agreed(make() if self.first else None))

    def agreed(self, value: T) -> T:
        """The first process's value, in all."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.control)
        return values[0]

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return self.sums([[flag]])[0][0] > 0

    def sums(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """Rows of numbers, as many in each process, added up over all processes."""
        if self.size == 1:
            return [list(row) for row in rows]
        numbers = torch.tensor(rows, dtype=torch.float64)
        dist.all_reduce(numbers, group=self.control)
        summed: list[list[float]] = numbers.tolist()
        return summed

    def sum_gradients(self, model: nn.Module) -> None:
        """Replace each gradient by its sum over all processes. All must have gradients of the same parameters."""
        if self.size > 1:
            _in_messages([p.grad for p in model.parameters() if p.grad is not None], dist.all_reduce)

    def align(self, model: nn.Module) -> None:
        """Give all processes the weights and buffers of the first one."""
        if self.size > 1:
            parameters = (parameter.data for parameter in model.parameters())
            _in_messages(itertools.chain(parameters, model.buffers()), functools.partial(dist.broadcast, src=0))

    def predict(
        self,
        model: Classifier,
        images: ImageSet,
        *,
        batch_size: int,
        views: Views = "one",
        plan: Plan | None = None,
    ) -> Predictions:
        """As `evaluation.predict`: each process asks about its own images, each image once, and all get all answers."""
        if self.size == 1:
            return predict(model, images, batch_size=batch_size, views=views, plan=plan)
        bounds = [len(images) * rank // self.size for rank in range(self.size + 1)]
        sizes = np.diff(bounds).tolist()
        # Messages must be of one length; what fills the shorter ones up is cut off again.
        answers = torch.zeros(max(sizes), len(images.classes))  # (n, K)
        if sizes[self.rank]:
            own = images.take(range(*bounds[self.rank : self.rank + 2]))
            said = predict(model, own, batch_size=-(-batch_size // self.size), views=views, plan=plan)
            answers[: len(own)] = torch.from_numpy(said.logits)
        everyone = [torch.empty_like(answers) for _ in sizes]
        dist.all_gather(everyone, answers, group=self.control)
        logits = torch.cat([part[:size] for part, size in zip(everyone, sizes, strict=True)]).numpy()  # (N, K)
        return Predictions(
            logits, images.labels, images.index, images.classes, images.split, images.store.source, views
        )

    def device(self, name: str) -> str:
        """The device of this process, where a recipe says `name`: each has its own GPU, or all the CPU.

        Raises
        ------
        DeviceError : this machine has fewer GPUs than processes.
        """
        if self.size == 1 or name not in {"auto", "cuda"}:
            return name
        if not torch.cuda.is_available():
            return "cpu" if name == "auto" else name
        if self.local_rank >= torch.cuda.device_count():
            raise DeviceError(
                f"process {self.local_rank + 1} of this machine has no GPU: there are {torch.cuda.device_count()}.",
                "Start one process for each GPU, or use training.device=cpu.",
            )
        return f"cuda:{self.local_rank}"

    def synchronised(self, model: Classifier, plan: Plan) -> Classifier:
        """The model with batch normalisation over the images of all processes.

        Raises
        ------
        DeviceError : it computes on a CPU, for which torch has no such layer.
        ModelError : it has batch normalisation of its own kind.
        """
        if self.size == 1:
            return model
        if plan.device.type != "cuda":
            raise DeviceError(
                f"training.sync_batch_norm works on GPUs only, but this trains on {plan.device}.",
                "Use training.sync_batch_norm=false: each process normalises its own share of a batch.",
            )
        known = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
        if any(isinstance(layer, _BatchNorm) and type(layer) not in known for layer in model.modules()):
            raise ModelError(
                f"{model.settings.name} has batch normalisation of its own kind, which cannot be synchronised.",
                "Use training.sync_batch_norm=false, or another model.",
            )
        converted: Classifier = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted


ALONE = World()


@contextlib.contextmanager
def joined() -> Iterator[World]:
    """Bring the processes together that torchrun started, for a while; a process that it did not start stays alone.

    A group of processes that somebody else has made (Ray, or your own `init_process_group`) is used and left as it is.

    If one of the processes fails, all end, and one of them says why: the first that failed raises its error, the
    others `SystemExit`.

    Raises
    ------
    ProcessError : another process ended without a word.
    """
    if _has_group() or not _divided_by_torchrun():
        yield current()
        return
    store, rank, size = next(rendezvous("env://"))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    try:
        yield current()
    except KeyboardInterrupt:
        _leave(store, rank, _GRACE)
        raise
    except BaseException as error:
        if store.add("eyebright/failed", 1) > 1:
            raise SystemExit(1) from None
        if _connection_broke(error):
            raise ProcessError(
                "another process of this training has ended without a word; perhaps it was killed, or its memory ran "
                "out.",
                "Continue from the last checkpoint with --resume, and with as many processes as you like.",
            ) from error
        raise
    else:
        _leave(store, rank, _PATIENCE)


def _leave(store: Any, rank: int, patience: datetime.timedelta) -> None:  # Any: torch's type stubs hide its Store
    """End the group; the first process goes first, for when one ends by Ctrl-C torchrun ends the others too."""
    if rank == 0:
        store.set("eyebright/done", "")
    else:
        with contextlib.suppress(dist.DistError):  # it is later than it should be
            store.wait(["eyebright/done"], patience)
    dist.destroy_process_group()


def current() -> World:
    """The processes that train together now; alone, where no group of processes was made."""
    if not _has_group() or dist.get_world_size() == 1:
        return ALONE
    rank = dist.get_rank()
    world = World(rank, dist.get_world_size(), dist.get_node_local_rank(rank))
    _ = world.control  # made by all at the same time
    return world


def refuse_strangers() -> None:
    """Refuse to train where torchrun started several processes that do not know of each other.

    Raises
    ------
    ProcessError : they would all train the same model, each by itself.
    """
    if not _has_group() and _divided_by_torchrun():
        raise ProcessError(
            f"torchrun started {os.environ['WORLD_SIZE']} processes, but they were not joined.",
            "Train inside of `with eyebright.joined():`.",
        )


def _has_group() -> bool:
    return dist.is_available() and dist.is_initialized()


def _divided_by_torchrun() -> bool:
    """Whether torchrun started this process and others."""
    return dist.is_available() and dist.is_torchelastic_launched() and int(os.environ["WORLD_SIZE"]) > 1


# Torch keeps groups until they are destroyed. Whoever kept one longer would keep its threads too, and a process whose
# threads let go of tensors while its interpreter ends is aborted ("terminate called without an active exception").
_CONTROLS: weakref.WeakKeyDictionary[dist.ProcessGroup, weakref.ref[dist.ProcessGroup]] = weakref.WeakKeyDictionary()


def _control(default: dist.ProcessGroup) -> dist.ProcessGroup:
    """A group for CPUs beside the default one, whose backend may know GPUs only."""
    known = _CONTROLS.get(default)
    group = known() if known else None
    if group is None:
        group = dist.new_group(backend="gloo", timeout=_PATIENCE)
        _CONTROLS[default] = weakref.ref(group)
    return group


def _connection_broke(error: BaseException) -> bool:
    """Whether messages to another process failed; gloo says so by a RuntimeError of its own text."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _in_messages(tensors: Iterable[Tensor], send: Callable[[Tensor], object]) -> None:
    """Pack tensors into few messages, let `send` change these in place, and unpack them."""
    waiting = sorted(tensors, key=lambda tensor: str(tensor.dtype))  # stable: the same order in every process
    while waiting:
        sizes = itertools.accumulate(tensor.nbytes for tensor in waiting)
        fitting = sum(
            size <= _MESSAGE_BYTES and tensor.dtype == waiting[0].dtype
            for size, tensor in zip(sizes, waiting, strict=True)
        )
        packed, waiting = waiting[: max(1, fitting)], waiting[max(1, fitting) :]
        ordered = [_as_stored(tensor) for tensor in packed]
        message = torch.cat([tensor.reshape(-1) for tensor in ordered])
        send(message)
        parts = torch.split(message, [tensor.numel() for tensor in ordered])
        for tensor, part in zip(ordered, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))


def _as_stored(tensor: Tensor) -> Tensor:
    """A view whose axes are in the order of the memory, in which copying is fastest."""
    return tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 and tensor.stride(1) == 1 else tensor
