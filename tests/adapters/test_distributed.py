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
        optimizer = create_lorapro_optimizer(model, 1e-2, mode, clip_norm=0.5)
        expected = train(model, optimizer, *data())
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9, msg=f"{kind}, {mode}")
