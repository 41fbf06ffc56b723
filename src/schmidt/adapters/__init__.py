"""LoRA fine-tuning that follows full fine-tuning. Needs torch alone; PEFT models are welcome."""

from schmidt.adapters.changes import MergeReport, merge_report
from schmidt.adapters.counts import adapter_parameters, decoder_shapes, linear_shapes, memory_table
from schmidt.adapters.delta import Delta, LayerDelta, lowrank_delta
from schmidt.adapters.lora_ga import lora_ga, model_loss, orthogonal_start
from schmidt.adapters.lora_pro import LoRAPro, create_lorapro_optimizer, trainer_optimizer
from schmidt.adapters.pairs import Pair, find_pairs, split_parameters
from schmidt.adapters.start import hold_start, merge, save_adapter, untie

__all__ = [
    "Delta",
    "LayerDelta",
    "LoRAPro",
    "MergeReport",
    "Pair",
    "adapter_parameters",
    "create_lorapro_optimizer",
    "decoder_shapes",
    "find_pairs",
    "hold_start",
    "linear_shapes",
    "lora_ga",
    "lowrank_delta",
    "memory_table",
    "merge",
    "merge_report",
    "model_loss",
    "orthogonal_start",
    "save_adapter",
    "split_parameters",
    "trainer_optimizer",
    "untie",
]
