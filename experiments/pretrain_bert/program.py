"""The program: its flags, what it measures, how it goes on after an interruption."""

import time
from collections.abc import Iterator

import numpy as np
from absl import flags

from experiments.pretrain_bert import page as pretrain_page
from experiments.pretrain_bert import results as pretrain_results
from experiments.pretrain_bert.batches import Batch, batches_from
from experiments.pretrain_bert.job import Job, read_job
from experiments.pretrain_bert.recall import Recall, fact_probes, recall_of, single_token_facts
from experiments.pretrain_bert.saved_states import SavedStates
from experiments.pretrain_bert.training import (
    TrainingState,
    initial_state,
    schedule,
    trained_model,
    training_step,
)
from experiments.running import common, terminal
from negjax.inputs.probes import Probes
from negjax.storage import store

_SAVE_EVERY = flags.DEFINE_integer(
    "save_every",
    100,
    "Steps from one saved state to the next. A run that is stopped loses what came after it.",
    lower_bound=1,
)
_SAMPLE = flags.DEFINE_integer(
    "sample", 500, "Trained facts that are asked at every saved state.", lower_bound=1
)


def main() -> int:
    """Runs the experiment; returns the exit status."""
    job = read_job()
    every = min(_SAVE_EVERY.value, job.recipe.steps)
    settings = job.settings | {"save_every": every, "sample": _SAMPLE.value}
    specs = _specs(job.recipe.steps, every)
    with common.open_folder("pretrain_bert", settings, specs, {"seed": job.seed}) as folder:
        done = len(folder.finished) * every
        with SavedStates(folder.path / store.STATES) as states:
            training = _Training(job, states, min(done, job.recipe.steps))
            work = _work(training, job.recipe.steps, every)
            complete = common.measure_all(folder, work, "step")
        if not complete:
            common.say_interrupted(folder, work)
        if not folder.finished:
            return 130
        finished = min(len(folder.finished) * every, job.recipe.steps)
        found = pretrain_results.analyse(
            job, folder, finished, training.state if complete else None
        )
        pretrain_page.write(job, folder, found)
    terminal.say(pretrain_page.printed(job, folder, found))
    return 0 if complete else 130


class _Training:
    """What passes from one group of steps to the next."""

    def __init__(self, job: Job, states: SavedStates, done: int) -> None:
        self.job, self.states = job, states
        self.state: TrainingState = states.resume(
            done, initial_state(job.config, job.recipe, job.seed)
        )
        self.step = training_step(job.config, job.recipe)
        self.batches: Iterator[Batch] = batches_from(job.texts, job.plan, done)
        lm = trained_model(job.config, self.state.params, job.tokenizer, name="", dtype="float32")
        trained = single_token_facts(lm, job.statements)
        generator = np.random.default_rng([job.seed, 3])
        sample = generator.permutation(len(trained))[: _SAMPLE.value]
        self.asked: dict[str, Probes] = {
            name: fact_probes(lm, facts)
            for name, facts in (
                ("trained", [trained[number] for number in sorted(sample)]),
                ("held_out", single_token_facts(lm, job.held_out)),
            )
            if facts
        }

    def run(self, steps: range) -> common.Values:
        """The steps' measurements; the state after them is saved."""
        found = {name: np.full(len(steps), np.nan) for name in _MEANINGS}
        rate = schedule(self.job.recipe)
        for number, step in enumerate(steps):
            batch = next(self.batches)
            start, busy = time.perf_counter(), time.process_time()
            self.state, measured = self.step(self.state, batch)
            loss = float(measured.loss)
            found["seconds"][number] = time.perf_counter() - start
            found["cpu_seconds"][number] = time.process_time() - busy
            found["loss"][number] = loss
            found["gradient_norm"][number] = float(measured.gradient_norm)
            found["learning_rate"][number] = float(rate(step))
            found["rows"][number], found["length"][number] = batch.tokens.shape
            found["tokens"][number] = batch.mask.sum()
            if not np.isfinite(loss):
                raise ValueError(
                    f"the loss of step {step} is {loss}: the training diverged; lower "
                    "--learning_rate or --clip_norm, or lengthen --warmup_steps"
                )
        self.states.save(steps.stop, self.state)
        for name, recall in self.recalled().items():
            found[f"{name}_above_half"][-1] = recall.summary["above_half"]
            found[f"{name}_mean_probability"][-1] = recall.summary["mean_probability"]
        return (slice(steps.start, steps.stop),), found

    def recalled(self) -> dict[str, Recall]:
        """How the present state answers the facts it is asked on the way."""
        job = self.job
        lm = trained_model(job.config, self.state.params, job.tokenizer, name="", dtype="float32")
        return {
            name: recall_of(lm, probes, budget_bytes=common.budget_bytes())
            for name, probes in self.asked.items()
        }


_MEANINGS = {
    "loss": "mean cross-entropy of the predicted tokens before the step, in nats",
    "gradient_norm": "norm of all gradients together, before clipping",
    "learning_rate": "of the step",
    "rows": "texts of the batch, P",
    "length": "tokens they are padded to, S",
    "tokens": "real tokens of the batch",
    "seconds": "of the step",
    "cpu_seconds": "of the step, all threads together",
    "trained_above_half": "share of sampled trained facts with P(answer) > 0.5, after the step",
    "trained_mean_probability": "mean P(answer) of sampled trained facts, after the step",
    "held_out_above_half": "share of held-out paraphrases with P(answer) > 0.5, after the step",
    "held_out_mean_probability": "mean P(answer) of held-out paraphrases, after the step",
}


def _specs(steps: int, every: int) -> dict[str, store.ArraySpec]:
    return {
        name: store.ArraySpec((steps,), "float64", ("step",), meaning, (every,))
        for name, meaning in _MEANINGS.items()
    }


def _work(training: _Training, steps: int, every: int) -> list[common.Work]:
    work = []
    for start in range(0, steps, every):
        group = range(start, min(start + every, steps))

        def measure(group: range = group) -> common.Values:
            return training.run(group)

        work.append(common.Work(f"steps {group[0]} to {group[-1]}", len(group), measure))
    return work
