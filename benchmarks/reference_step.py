"""One training step of the NeuralSVD reference implementation, ready to be timed.

Everything that computes (operator, network, loss, sampler, optimizer) is imported from a local
checkout of https://github.com/jongharyu/neural-svd that the caller supplies; nothing is fetched.
"""

import importlib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock, patch

import torch

_OWN_PACKAGES = ("examples", "methods", "tools")  # the checkout's top-level packages
# What the checkout imports for its command line, logs, plots and closed-form eigenfunctions. None
# of it runs in a training step, save the EMA, for which `_Ema` stands in.
_STUBBED = """
    configargparse distutils distutils.util matplotlib matplotlib.pyplot mpl_toolkits
    mpl_toolkits.axes_grid1 pandas scipy scipy.linalg scipy.special termplotlib toml tools
    tools.generic torch_ema tqdm uncertainties
""".split()  # noqa: SIM905


@contextmanager
def _importing_from(checkout: Path) -> Iterator[None]:
    """Put the checkout first on the path and stub what it does not need; undo both on exit."""

    def is_touched(name: str) -> bool:
        return name in _STUBBED or name.partition(".")[0] in _OWN_PACKAGES

    hidden = {name: sys.modules.pop(name) for name in [*sys.modules] if is_touched(name)}
    sys.modules.update({name: MagicMock(name=name) for name in _STUBBED})
    try:
        with patch.object(sys, "path", [str(checkout), *sys.path]), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch.cuda.amp decorators
            yield
    finally:
        for name in filter(is_touched, [*sys.modules]):
            del sys.modules[name]
        sys.modules.update(hidden)


class _Ema:
    """Parameter average with the arithmetic, and passes over memory, of torch_ema 0.3."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], decay: float) -> None:
        self._pairs = [(p, p.detach().clone()) for p in parameters]
        self._decay, self._updates = decay, 0

    @torch.no_grad()
    def update(self) -> None:
        self._updates += 1
        rate = 1.0 - min(self._decay, (1 + self._updates) / (10 + self._updates))
        for parameter, average in self._pairs:
            average.sub_((average - parameter).mul_(rate))


def build_reference_step(
    checkout: Path,
    *,
    modes: int = 16,
    hidden: tuple[int, ...] = (128, 128, 128),
    fourier: int = 1024,
    batch: int = 512,
    laplacian_eps: float = 0.01,
    seed: int = 0,
    device: str = "cpu",
) -> Callable[[], float]:
    """Set up the 2D hydrogen experiment of `checkout` and return one step of it.

    The settings are those of its scripts/exps/pde/hydrogen.sh with sequential nesting, bar the
    arguments. `fourier` frequencies make 2 * `fourier` features (sine and cosine). A positive
    `laplacian_eps` is the step of the finite-difference Laplacian; zero selects the exact one.
    As in the original, torch's global generator is seeded here and drawn from at every step.

    Each call of the result draws a batch, updates parameters, learning rate and average, and
    returns the loss. The first call may be several times slower: leave it out of timings.
    """
    with _importing_from(checkout.resolve()):
        main = importlib.import_module("examples.operator.pde.main_pde")
        utils = importlib.import_module("examples.utils")
    loss_options = SimpleNamespace(step=1, sequential=True)
    args = SimpleNamespace(
        problem="sch", potential_type="hydrogen", ndim=2, charge=1.0, neigs=modes,
        operator_scale=100.0, operator_shift=0.0, laplacian_eps=laplacian_eps,
        mlp_hidden_dims=",".join(map(str, hidden)), nonlinearity="softplus", parallel=True,
        use_fourier_feature=True, fourier_mapping_size=fourier, fourier_scale=0.1,
        fourier_deterministic=False, fourier_append_raw=False,
        apply_boundary=False, apply_exp_mask=False, hard_mul_const=1.0,
        # lim and val_eps only shape the validation grid, made tiny because it is not used
        sampling_mode="gaussian", sampling_scale=16.0, batch_size=batch, lim=50.0, val_eps=50.0,
        loss=SimpleNamespace(name="neuralsvd", neuralsvd=loss_options), sort=False,
        optimizer="rmsprop", lr=1e-4, rmsprop_decay=0.999, momentum=0.0,
    )  # fmt: skip
    where = torch.device(device)
    torch.manual_seed(seed)
    operator, _ = main.get_problem(args, where)
    model = main.get_wavefunctions(args)
    sample, _, _, density, _ = main.get_dataloader(args, where)
    method = main.get_evd_method(args, args.loss.name, model).to(where)
    optimizer = utils.get_optimizer(args, method)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=500_000)
    ema = _Ema(method.parameters(), decay=0.995)

    def step() -> float:
        # The original's gradient scaler and autocast are off in this setting, hence not here.
        method.train()
        optimizer.zero_grad()
        points = sample().to(where).flatten(start_dim=1)
        loss, _ = method.compute_loss_operator(operator, points, importance=density)
        loss.backward()
        optimizer.step()
        scheduler.step()
        ema.update()
        return float(loss.item())

    return step
