"""Fine-tuning side by side: LoRA, its variants, LoRA-GA and LoRA-Pro beside full fine-tuning."""

from schmidt.experiments.finetune import report
from schmidt.experiments.finetune.classification import Classification, top_of
from schmidt.experiments.finetune.experiment import PLANS, SEEDS, Plan, TuningResults, plan, run
from schmidt.experiments.finetune.language import Language, Pretraining, pretrained, python_to_cpp
from schmidt.experiments.finetune.methods import METHODS, method
from schmidt.experiments.finetune.report import difference, mean_score
from schmidt.experiments.finetune.task import TuningSettings
from schmidt.experiments.finetune.training import TuningRun, train

__all__ = [
    "METHODS",
    "PLANS",
    "SEEDS",
    "Classification",
    "Language",
    "Plan",
    "Pretraining",
    "TuningResults",
    "TuningRun",
    "TuningSettings",
    "difference",
    "mean_score",
    "method",
    "plan",
    "pretrained",
    "python_to_cpp",
    "report",
    "run",
    "top_of",
    "train",
]
