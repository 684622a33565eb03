"""The transformers Trainer with what this project adds.

Length-grouped batches that are the same for the same seed and epoch, learning rates a group of
parameters, and validation through the recogniser's own route on posts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader, Dataset
from transformers import (
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback

from mner.encoding import Batch, LengthGroupedBatches
from mner.evaluation.scores import Scores, score_posts
from mner.nn.processes import process_number, processes
from mner.posts import Post
from mner.pretrained import quiet_loading
from mner.progress import Advance
from mner.recognizer import Recognizer
from mner.training.processes import predict_together
from mner.training.recipe import TrainingSection
from mner.training.tracking import tracker

METRIC = "eval_f1"


class PostList(Dataset[Post]):
    """Posts as the data loader wants them."""

    def __init__(self, posts: Sequence[Post]) -> None:
        self.posts = posts

    def __len__(self) -> int:
        return len(self.posts)

    def __getitem__(self, index: int) -> Post:
        return self.posts[index]


class PostTrainer(Trainer):
    """Trains a recogniser's model on posts and chooses the checkpoint on validation posts.

    Args:
        recognizer: The recogniser whose model is trained.
        section: How to train.
        arguments: The same as transformers wants it.
        train_posts: Posts to train on, annotated.
        valid_posts: Posts that choose the checkpoint, annotated.
        convention: What stray tags mean in gold.
        on_step: Told of every step.
        on_scores: Told of every score on the validation posts.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        section: TrainingSection,
        arguments: TrainingArguments,
        train_posts: Sequence[Post],
        valid_posts: Sequence[Post],
        convention: str,
        on_step: Advance,
        on_scores: Callable[[int, float, Scores], None],
    ) -> None:
        self.recognizer = recognizer
        self.section = section
        self.valid_posts = valid_posts
        self.convention = convention
        self.on_scores = on_scores
        self.train_posts = PostList(train_posts)
        self.sampler = LengthGroupedBatches(
            recognizer.encoder.lengths(train_posts),
            section.batch_size,
            section.seed,
            processes=processes(),
            process=process_number(),
        )
        inputs = recognizer.encoder.inputs
        # A batch of posts without pictures leaves what reads pictures without gradients.
        arguments.ddp_find_unused_parameters = bool(inputs.picture is not None or inputs.knowledge)
        super().__init__(
            model=recognizer.model,
            args=arguments,
            data_collator=self._collate,
            train_dataset=self.train_posts,
            eval_dataset=PostList(valid_posts),
            callbacks=[_StepCallback(on_step)],
        )
        self.remove_callback(PrinterCallback)
        if section.patience is not None:
            self.add_callback(_Patience(early_stopping_patience=section.patience))
        if section.tracker is not None:
            self.add_callback(tracker(section.tracker, Path(str(arguments.output_dir)).parent))
        # Losses are means over the batch, so that accumulated ones are averaged.
        self.model_accepts_loss_kwargs = False

    def go_on(self, checkpoint: str | None) -> None:
        """Train, from a checkpoint if there is one; nothing is left to do where its patience is spent.

        Args:
            checkpoint: The folder of the last checkpoint, or `None` to start from the beginning.
        """
        if checkpoint is not None and self.section.patience is not None:
            state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
            if _evaluations_since_the_best(state) >= self.section.patience:
                # An early stop ends a training; the best checkpoint is what remains to be loaded.
                self.args.num_train_epochs = round(state.epoch or 0)
        try:
            self.train(resume_from_checkpoint=checkpoint)
        finally:
            if self.recognizer.encoder.pictures is not None:
                self.recognizer.encoder.pictures.forget()

    def end_autocast(self) -> None:
        """Let the model compute in its own precision again, which training under autocast has wrapped."""
        for wrapped in ("forward", "_original_forward"):
            self.recognizer.model.__dict__.pop(wrapped, None)

    def _collate(self, posts: list[Post]) -> dict[str, Batch]:
        batch = self.recognizer.encoder.encode(
            posts,
            labelled=True,
            convention=self.convention,
            draw=(self.section.seed, self.sampler.epoch),
        )
        return {"batch": batch}

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of posts of like length."""
        loader = DataLoader(self.train_posts, batch_sampler=self.sampler, collate_fn=self._collate)
        # The sampler has shared the posts out among the processes already.
        prepared: DataLoader[Any] = prepare_data_loader(loader, num_processes=1, process_index=0)
        return prepared

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW with a learning rate a group of parameters; biases, norms and the CRF do not decay."""
        del model
        if self.optimizer is None:
            decaying = set(self.get_decay_parameter_names(self.recognizer.model))
            groups: dict[tuple[str, bool], list[torch.nn.Parameter]] = {}
            for name, parameter in self.recognizer.model.each_parameter():
                group = self.recognizer.model.group_of(name)
                groups.setdefault((group, name in decaying and group != "crf"), []).append(parameter)
            section = self.section
            self.optimizer = torch.optim.AdamW(
                [
                    {
                        "params": parameters,
                        "lr": section.learning_rates.get(group, section.learning_rate),  # type: ignore[call-overload]
                        "weight_decay": section.weight_decay if decays else 0.0,
                    }
                    for (group, decays), parameters in groups.items()
                ],
                betas=(0.9, 0.999),
                eps=1e-8,
                fused=True,
            )
        return self.optimizer

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The loss that the model itself computes from a batch with gold."""
        del num_items_in_batch
        output = model(inputs["batch"].to(self.args.device))
        return (output.loss, output) if return_outputs else output.loss

    def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        """Score the validation posts as every other score is made: through the recogniser, on posts."""
        del arguments, options
        with self.autocast_smart_context_manager():
            predicted = predict_together(self.recognizer, self.valid_posts)
        scores = score_posts(self.valid_posts, predicted, self.convention)
        metrics = {
            "eval_precision": scores.overall.precision,
            "eval_recall": scores.overall.recall,
            METRIC: scores.overall.f1,
        }
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.on_scores(self.state.global_step, float(self.state.epoch or 0), scores)
        return metrics

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted."""
        del inputs
        return 0

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        # As transformers does it, without the pickled arguments: nothing in a run folder can run code.
        folder = Path(output_dir or str(self.args.output_dir))
        if self.args.should_save:
            folder.mkdir(parents=True, exist_ok=True)
            with quiet_loading():
                self.recognizer.model.save_pretrained(folder, state_dict=state_dict)


class _StepCallback(TrainerCallback):
    def __init__(self, advance: Advance) -> None:
        self.advance = advance

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        del args, control, kwargs
        # A resumed run starts where it was.
        if state.global_step:
            self.advance(state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        del args, state, control, kwargs
        self.advance(1)


class _Patience(EarlyStoppingCallback):  # type: ignore[misc]
    """Stops after so many evaluations without a better one; a resumed run counts those of before too."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        self.early_stopping_patience_counter = _evaluations_since_the_best(state)


def _evaluations_since_the_best(state: TrainerState) -> int:
    scores = [entry[METRIC] for entry in state.log_history if METRIC in entry]
    return len(scores) - 1 - scores.index(max(scores)) if scores else 0


def has_fast_bfloat16() -> bool:
    """Whether this machine computes bfloat16 in hardware."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def training_arguments(section: TrainingSection, folder: Path) -> TrainingArguments:
    """A recipe's training section as transformers wants it.

    Args:
        section: The section.
        folder: Where checkpoints go.
    """
    precise = {"auto": has_fast_bfloat16(), "bfloat16": True, "float32": False}[section.precision]
    arguments = TrainingArguments(
        output_dir=os.fspath(folder),
        per_device_train_batch_size=section.batch_size,
        gradient_accumulation_steps=section.gradient_accumulation,
        num_train_epochs=section.epochs,
        learning_rate=section.learning_rate,
        weight_decay=section.weight_decay,
        warmup_steps=section.warmup,
        lr_scheduler_type=section.schedule if section.schedule != "constant" else "constant_with_warmup",
        max_grad_norm=section.max_gradient_norm,
        bf16=precise,
        activation_checkpointing=section.gradient_checkpointing,
        seed=section.seed,
        eval_strategy="epoch",
        eval_delay=section.evaluate_from,
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model=METRIC,
        greater_is_better=True,
        logging_strategy="epoch",
        report_to="none",
        run_name=str(folder.parent),
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    # A process trains on one GPU; torchrun starts one for each. Asking for the number finds it out first.
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments
