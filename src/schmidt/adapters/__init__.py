"""LoRA fine-tuning that follows full fine-tuning. Needs torch alone; PEFT models are welcome."""

from schmidt.adapters.lora_ga import LayerStart, Start, lora_ga, model_loss, orthogonal_start
from schmidt.adapters.offset import fold, merge, save_adapter
from schmidt.adapters.pairs import Pair, Trainable, find_pairs, split_parameters

__all__ = [
    "LayerStart",
    "Pair",
    "Start",
    "Trainable",
    "find_pairs",
    "fold",
    "lora_ga",
    "merge",
    "model_loss",
    "orthogonal_start",
    "save_adapter",
    "split_parameters",
]
