"""Fine-tuning side by side: LoRA, its variants, LoRA-GA and LoRA-Pro beside full fine-tuning."""

from schmidt.finetune import report
from schmidt.finetune.classification import Classification, minilm_on_tweets, top_of
from schmidt.finetune.experiment import Results, Tuned, run
from schmidt.finetune.extras import MissingExample
from schmidt.finetune.language import Language, Pretraining, pretrained, python_to_cpp
from schmidt.finetune.methods import METHODS, Method, method
from schmidt.finetune.settings import Settings
from schmidt.finetune.statistics import Interval, difference, mean_score
from schmidt.finetune.task import Judgement, Network, Task
from schmidt.finetune.tiers import PLANS, SEEDS, Plan, Tier, plan
from schmidt.finetune.training import Run, train

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
