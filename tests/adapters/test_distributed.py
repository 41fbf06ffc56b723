"""Two processes (gloo): DDP and FSDP2 take the step of one process with the whole batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn

from schmidt.adapters import create_lorapro_optimizer, find_pairs
from schmidt.adapters.pairs import whole

WORLD = 2


def build() -> Any:
    import peft

    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    config = peft.LoraConfig(r=2, target_modules=["0", "2"], modules_to_save=["4"])
    return peft.get_peft_model(base, config).double()  # type: ignore[arg-type]


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(8, k, generator=generator, dtype=torch.float64) for k in (6, 3))
    return x, y


def train(model: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
    """All that is trained, after four steps, the last two from a reloaded state."""
    for step in range(4):
        if step == 2:
            optimizer.load_state_dict(optimizer.state_dict())
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
    trained = [p for g in optimizer.param_groups for p in g["params"]]
    return torch.cat([whole(p.detach()).flatten() for p in trained])


def sharded(model: Any) -> Any:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (WORLD,))
    for pair in find_pairs(model):
        fully_shard(pair.module, mesh=mesh)  # type: ignore[arg-type]
    fully_shard(model, mesh=mesh)
    return model


def work(rank: int, meeting: str, results: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=WORLD
    )
    x, y = (z[4 * rank : 4 * rank + 4] for z in data())
    found = {}
    for mode in ("adamw-factored", "adamw-full"):
        settings: dict[str, Any] = {"lr": 1e-2, "mode": mode, "clip_norm": 0.5}
        model = nn.parallel.DistributedDataParallel(build())
        found["ddp", mode] = train(model, create_lorapro_optimizer(model, **settings), x, y)
        model = sharded(build())
        found["fsdp2", mode] = train(model, create_lorapro_optimizer(model, **settings), x, y)
    torch.save(found, f"{results}.{rank}")
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not distributed.is_available(), reason="torch without distributed")
def test_two_processes_are_one_with_the_whole_batch(tmp_path: Path) -> None:
    results = str(tmp_path / "results")
    torch.multiprocessing.spawn(work, (str(tmp_path / "meeting"), results), nprocs=WORLD)
    ranks = [torch.load(f"{results}.{rank}") for rank in range(WORLD)]
    for (kind, mode), found in ranks[0].items():
        assert torch.equal(found, ranks[1][kind, mode]), kind
        model = build()
        optimizer = create_lorapro_optimizer(model, 1e-2, mode=mode, clip_norm=0.5)
        expected = train(model, optimizer, *data())
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9, msg=f"{kind}, {mode}")


def begin(rank: int, meeting: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=WORLD
    )


def steps(model: Any, optimizer: Any, rank: int, count: int) -> None:
    x, y = (z[4 * rank : 4 * rank + 4] for z in data())
    for _ in range(count):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()


def started() -> Any:
    from schmidt.adapters import lora_ga

    model = build()
    lora_ga(model, [data()], lambda m, b: (m(b[0]) - b[1]).square().mean())
    return sharded(model)


MODES: tuple[Any, ...] = ("adamw-factored", "adamw-full", "sgd")


def train_and_save(rank: int, meeting: str, folder: str) -> None:
    """Two steps, a checkpoint, two more, and the end without a farewell."""
    import os

    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.state_dict import get_state_dict

    begin(rank, meeting)
    for mode in MODES:
        model = started()
        optimizer = create_lorapro_optimizer(model, 1e-2, mode=mode, clip_norm=0.5)
        steps(model, optimizer, rank, 2)
        weights, state = get_state_dict(model, optimizer)
        checkpoint.save({"model": weights, "optimizer": state}, checkpoint_id=folder + mode)
        steps(model, optimizer, rank, 2)
        trained = [whole(p.detach()) for g in optimizer.param_groups for p in g["params"]]
        torch.save(trained, f"{folder}{mode}.straight.{rank}")
    distributed.barrier()
    os._exit(0)


def load_and_go_on(rank: int, meeting: str, folder: str) -> None:
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_state_dict,
        set_model_state_dict,
        set_optimizer_state_dict,
    )

    begin(rank, meeting)
    for mode in MODES:
        model = started()
        optimizer = create_lorapro_optimizer(model, 1e-2, mode=mode, clip_norm=0.5)
        weights, state = get_state_dict(model, optimizer)
        found = {"model": weights, "optimizer": state}
        checkpoint.load(found, checkpoint_id=folder + mode)
        strict = StateDictOptions(strict=True)
        set_model_state_dict(model, found["model"], options=strict)
        set_optimizer_state_dict(model, optimizer, found["optimizer"], options=strict)
        steps(model, optimizer, rank, 2)
        trained = [whole(p.detach()) for g in optimizer.param_groups for p in g["params"]]
        torch.save(trained, f"{folder}{mode}.resumed.{rank}")
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not distributed.is_available(), reason="torch without distributed")
def test_distributed_checkpoints_resume_bit_for_bit(tmp_path: Path) -> None:
    folder = str(tmp_path / "checkpoint")
    for i, work_of in enumerate((train_and_save, load_and_go_on)):
        torch.multiprocessing.spawn(work_of, (str(tmp_path / f"meeting{i}"), folder), nprocs=WORLD)
    for mode in MODES:
        for rank in range(WORLD):
            straight, resumed = (
                torch.load(f"{folder}{mode}.{kind}.{rank}") for kind in ("straight", "resumed")
            )
            assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True)), mode
