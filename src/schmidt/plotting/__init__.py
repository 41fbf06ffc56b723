"""Every picture of the library. Takes arrays, returns matplotlib figures; nothing else draws."""

from matplotlib.figure import Figure

from schmidt.plotting.completion import completed, penalty_path
from schmidt.plotting.functions import function_curves, function_images, level_diagram, side_by_side
from schmidt.plotting.history import search, training_curve
from schmidt.plotting.matrices import contact_sheet, decay
from schmidt.plotting.semantic import semantic_map
from schmidt.plotting.spectra import (
    bounds,
    complex_spectrum,
    errors,
    orthogonality,
    spectrum,
    spectrum_of,
)
from schmidt.plotting.style import finish

__all__ = [
    "Figure",
    "bounds",
    "completed",
    "complex_spectrum",
    "contact_sheet",
    "decay",
    "errors",
    "finish",
    "function_curves",
    "function_images",
    "level_diagram",
    "orthogonality",
    "penalty_path",
    "search",
    "semantic_map",
    "side_by_side",
    "spectrum",
    "spectrum_of",
    "training_curve",
]
