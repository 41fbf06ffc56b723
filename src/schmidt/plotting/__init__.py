"""Every picture of the library. Takes arrays, returns matplotlib figures; nothing else draws."""

from matplotlib.figure import Figure

from schmidt.plotting.comparison import bands, bars
from schmidt.plotting.completion import completed, penalty_path
from schmidt.plotting.finetune import (
    Curve,
    Dot,
    Look,
    fine_tuning_curves,
    fine_tuning_results,
    fine_tuning_sweep,
)
from schmidt.plotting.functions import function_curves, function_images
from schmidt.plotting.grids import grid_solvers
from schmidt.plotting.history import search, training_curve
from schmidt.plotting.matrices import contact_sheet, decay
from schmidt.plotting.norms import norms, sweep
from schmidt.plotting.retrieval import (
    Line,
    Tile,
    overlaps,
    retrieved,
    singular_values,
    truncation,
)
from schmidt.plotting.semantic import semantic_map
from schmidt.plotting.side_by_side import errors, side_by_side
from schmidt.plotting.spectra import bounds, complex_spectrum, orthogonality, spectrum
from schmidt.plotting.style import finish

__all__ = [
    "Curve",
    "Dot",
    "Figure",
    "Line",
    "Look",
    "Tile",
    "bands",
    "bars",
    "bounds",
    "completed",
    "complex_spectrum",
    "contact_sheet",
    "decay",
    "errors",
    "fine_tuning_curves",
    "fine_tuning_results",
    "fine_tuning_sweep",
    "finish",
    "function_curves",
    "function_images",
    "grid_solvers",
    "norms",
    "orthogonality",
    "overlaps",
    "penalty_path",
    "retrieved",
    "search",
    "semantic_map",
    "side_by_side",
    "singular_values",
    "spectrum",
    "sweep",
    "training_curve",
    "truncation",
]
