"""Every picture of the library. Takes arrays, returns matplotlib figures; nothing else draws."""

from matplotlib.figure import Figure

from schmidt.plotting.functions import function_curves, function_images
from schmidt.plotting.history import search, training_curve
from schmidt.plotting.side_by_side import errors, side_by_side
from schmidt.plotting.spectra import bounds, complex_spectrum, orthogonality, spectrum
from schmidt.plotting.style import finish

__all__ = [
    "Figure",
    "bounds",
    "complex_spectrum",
    "errors",
    "finish",
    "function_curves",
    "function_images",
    "orthogonality",
    "search",
    "side_by_side",
    "spectrum",
    "training_curve",
]
