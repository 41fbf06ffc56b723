"""Fine-tuning side by side: LoRA, its variants, LoRA-GA and LoRA-Pro beside full fine-tuning."""

from schmidt.experiments.finetune import report
from schmidt.experiments.finetune.classification import (
    Classification,
    MissingExample,
    minilm_on_tweets,
    top_of,
)
from schmidt.experiments.finetune.experiment import (
    PLANS,
    SEEDS,
    Plan,
    Tier,
    Tuned,
    TuningResults,
    plan,
    run,
)
from schmidt.experiments.finetune.language import Language, Pretraining, pretrained, python_to_cpp
from schmidt.experiments.finetune.methods import METHODS, TuningMethod, method
from schmidt.experiments.finetune.report import ConfidenceInterval, difference, mean_score
from schmidt.experiments.finetune.task import Evaluation, Network, Task, TuningSettings
from schmidt.experiments.finetune.training import TuningRun, train

__all__ = [
    "METHODS",
    "PLANS",
    "SEEDS",
    "Classification",
    "ConfidenceInterval",
    "Evaluation",
    "Language",
    "MissingExample",
    "Network",
    "Plan",
    "Pretraining",
    "Task",
    "Tier",
    "Tuned",
    "TuningMethod",
    "TuningResults",
    "TuningRun",
    "TuningSettings",
    "difference",
    "mean_score",
    "method",
    "minilm_on_tweets",
    "plan",
    "pretrained",
    "python_to_cpp",
    "report",
    "run",
    "top_of",
    "train",
]
