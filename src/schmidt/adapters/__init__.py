"""LoRA fine-tuning that follows full fine-tuning. Needs torch alone; PEFT models are welcome."""

from schmidt.adapters.pairs import Pair, Trainable, find_pairs, split_parameters

__all__ = ["Pair", "Trainable", "find_pairs", "split_parameters"]
