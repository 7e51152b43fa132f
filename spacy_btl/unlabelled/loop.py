"""The training loop: transformers' `Trainer`, with what it tells."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils import logging

from spacy_btl.models.passes import cpu_has_bfloat16
from spacy_btl.models.supported import SINGLE_PRECISION
from spacy_btl.unlabelled.windows import IGNORED, HiddenWords, batch_of

EVALUATIONS = 20  # in all, with a checkpoint each
PATIENCE = 3  # evaluations without a lower perplexity before the end
WARMUP, WEIGHT_DECAY = 0.06, 0.01  # RoBERTa's (Liu et al. 2019)
EVALUATED = "eval_loss"
STATE = "trainer_state.json"  # the last file of a checkpoint to be written


@dataclass(frozen=True)
class Options:
    """How an encoder is pretrained.

    epochs (float): How often the notes are read, unless the perplexity stops falling before.
    learn_rate (float): The highest. It rises at first, and then falls to 0.
    masking (float): The share of the words that are hidden.
    window (int): Wordpieces that are read at once.
    batch_size (int): Windows of a step.
    seed (int): Of the notes held out, the order, the words that are hidden, and dropout.
    gpu (int): The GPU, or -1 for the CPU.
    text_column, id_column (str): The columns of a table.
    """

    epochs: float = 3.0
    learn_rate: float = 1e-4
    masking: float = 0.15
    window: int = 256
    batch_size: int = 16
    seed: int = 0
    gpu: int = -1
    text_column: str = "text"
    id_column: str = "id"


class Evaluation(NamedTuple):
    """The perplexity of the hidden words of the notes that are held out, after a step."""

    step: int
    perplexity: float


@dataclass(frozen=True)
class Listener:
    """What is told of a run.

    on_step (Callable[[int, int], None]): Called with the number of steps done, and of all.
    on_evaluated (Callable[[Evaluation], None]): Called with each new perplexity.
    """

    on_step: Callable[[int, int], None] = lambda step, steps: None
    on_evaluated: Callable[[Evaluation], None] = lambda evaluation: None


def train(
    model: PreTrainedModel,
    learned: HiddenWords,
    held_out: HiddenWords,
    options: Options,
    state: Path,
    listener: Listener,
) -> list[Evaluation]:
    """Train a model, from the last checkpoint of a folder on. The best weights stay in it.

    state (Path): The folder of the checkpoints.
    RETURNS (List[Evaluation]): All of them, the first before the first step.
    """
    steps = math.ceil(options.epochs * len(learned.windows) / options.batch_size)
    every = max(1, steps // EVALUATIONS)
    trainer: Any = GuessingTrainer(
        model,
        TrainingArguments(
            output_dir=str(state),
            max_steps=steps,
            per_device_train_batch_size=options.batch_size,
            per_device_eval_batch_size=options.batch_size,
            learning_rate=options.learn_rate,
            warmup_ratio=WARMUP,
            weight_decay=WEIGHT_DECAY,
            eval_strategy="steps",
            eval_steps=every,
            eval_on_start=True,
            save_steps=every,
            save_total_limit=2,
            load_best_model_at_end=True,
            metric_for_best_model=EVALUATED,
            greater_is_better=False,
            remove_unused_columns=False,
            label_names=["labels"],
            seed=options.seed,
            use_cpu=options.gpu < 0,
            dataloader_pin_memory=False,
            disable_tqdm=True,
            logging_strategy="no",
            report_to=[],
            **_precision(model, options.gpu),
        ),
        data_collator=partial(batch_of, padding=learned.tokenizer.pad_token_id),
        train_dataset=learned,
        eval_dataset=held_out,
        callbacks=[EarlyStoppingCallback(PATIENCE), _Told(listener)],
    )
    trainer.remove_callback(PrinterCallback)
    with _quiet():
        trainer.train(resume_from_checkpoint=_last_checkpoint(state))
    return [_evaluation(entry) for entry in trainer.state.log_history if EVALUATED in entry]


class GuessingTrainer(Trainer):
    """A Trainer for masked language models whose head reads the hidden wordpieces alone.

    The loss is the same, since the others have no label. The head's last layer is as wide as the
    vocabulary, so in a small encoder it costs more than all the rest.
    """

    def compute_loss(
        self, model: Any, inputs: dict[str, torch.Tensor], *args: Any, **kwargs: Any
    ) -> Any:
        """The loss of a batch of `batch_of`."""
        hidden = inputs["labels"] != IGNORED

        def keep_hidden(encoder: Any, inputs: Any, output: Any) -> Any:
            output.last_hidden_state = output.last_hidden_state[hidden][None]
            return output

        inputs = {**inputs, "labels": inputs["labels"][hidden][None]}
        hook = model.base_model.register_forward_hook(keep_hidden)
        try:
            return super().compute_loss(  # type: ignore[misc]
                model, inputs, *args, **kwargs
            )
        finally:
            hook.remove()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what transformers says of weights that two layers share, and of torch's old names."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="transformers.trainer")
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)


class _Told(TrainerCallback):
    """Passes on what Trainer says."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A step is done."""
        self.listener.on_step(state.global_step, state.max_steps)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The held-out notes are read."""
        self.listener.on_evaluated(_evaluation(state.log_history[-1]))


def _evaluation(entry: dict[str, Any]) -> Evaluation:
    return Evaluation(entry["step"], math.exp(entry[EVALUATED]))


def _precision(model: PreTrainedModel, gpu: int) -> dict[str, Any]:
    """bfloat16 where the processor has it, else float16 on a GPU, else float32."""
    if model.config.model_type in SINGLE_PRECISION:
        return {}
    if gpu < 0:
        return {"bf16": cpu_has_bfloat16()}
    bfloat16 = torch.cuda.is_bf16_supported()
    return {"bf16": bfloat16, "fp16": not bfloat16}


def _last_checkpoint(state: Path) -> str | None:
    """The last one that is whole."""
    whole = [path.parent for path in state.glob(f"checkpoint-*/{STATE}")]
    numbers = {int(path.name.rpartition("-")[2]): str(path) for path in whole}
    return numbers[max(numbers)] if numbers else None
