"""Fine-tuning side by side: LoRA, its variants, LoRA-GA and LoRA-Pro beside full fine-tuning."""

from schmidt.experiments.finetune import report
from schmidt.experiments.finetune.classification import Classification, minilm_on_tweets, top_of
from schmidt.experiments.finetune.experiment import Results, Tuned, run
from schmidt.experiments.finetune.extras import MissingExample
from schmidt.experiments.finetune.language import Language, Pretraining, pretrained, python_to_cpp
from schmidt.experiments.finetune.methods import METHODS, Method, method
from schmidt.experiments.finetune.settings import Settings
from schmidt.experiments.finetune.statistics import Interval, difference, mean_score
from schmidt.experiments.finetune.task import Judgement, Network, Task
from schmidt.experiments.finetune.tiers import PLANS, SEEDS, Plan, Tier, plan
from schmidt.experiments.finetune.training import Run, train

__all__ = [
    "METHODS",
    "PLANS",
    "SEEDS",
    "Classification",
    "Interval",
    "Judgement",
    "Language",
    "Method",
    "MissingExample",
    "Network",
    "Plan",
    "Pretraining",
    "Results",
    "Run",
    "Settings",
    "Task",
    "Tier",
    "Tuned",
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
