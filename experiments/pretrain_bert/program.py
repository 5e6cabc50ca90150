"""The program: steps in groups, each saved with the state after it, and what the run shows."""

import time
from collections.abc import Iterator

import numpy as np

from experiments.pretrain_bert import report as pretrain_report
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
from experiments.running import common
from experiments.running.study import Findings, Finished, Study, measured
from negjax.inputs.probes import Probes
from negjax.storage import store
from negjax.storage.store import RunFolder


def prepare() -> Study:
    """Reads the text and makes its vocabulary."""
    job = read_job()

    def measure(folder: RunFolder) -> Finished:
        with SavedStates(folder.path / store.STATES) as states:
            training = _Training(job, states, _steps_done(job, folder))
            return measured(lambda _: _work(training), "step")(folder)

    def results(folder: RunFolder, finished: Finished) -> Findings | None:
        done = _steps_done(job, folder)
        if not done:
            return None
        last = _last_state(job, folder) if finished.complete else None
        found = pretrain_results.analyse(job, folder, done, last)
        return pretrain_report.findings(job, folder, found)

    return Study(
        name="pretrain_bert",
        settings={**job.settings, "save_every": job.save_every, "sample": job.sample},
        arrays={
            name: store.ArraySpec(
                shape=(job.recipe.steps,),
                dtype="float64",
                axes=("step",),
                meaning=meaning,
                chunks=(job.save_every,),
            )
            for name, meaning in _MEANINGS.items()
        },
        attributes={"seed": job.seed},
        measure=measure,
        results=results,
    )


def _steps_done(job: Job, folder: RunFolder) -> int:
    return min(len(folder.finished) * job.save_every, job.recipe.steps)


def _last_state(job: Job, folder: RunFolder) -> TrainingState:
    with SavedStates(folder.path / store.STATES) as states:
        return states.resume(job.recipe.steps, initial_state(job.config, job.recipe, job.seed))


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
        sample = generator.permutation(len(trained))[: job.sample]
        self.questions: dict[str, Probes] = {
            name: fact_probes(lm, facts)
            for name, facts in (
                ("trained", [trained[number] for number in sorted(sample)]),
                ("held_out", single_token_facts(lm, job.held_out)),
            )
            if facts
        }

    def run(self, steps: range) -> common.Values:
        """The steps' measurements; the state after them is saved."""
        values = {name: np.full(len(steps), np.nan) for name in _MEANINGS}
        rate = schedule(self.job.recipe)
        for number, step in enumerate(steps):
            batch = next(self.batches)
            start, busy = time.perf_counter(), time.process_time()
            self.state, measured = self.step(self.state, batch)
            loss = float(measured.loss)
            values["seconds"][number] = time.perf_counter() - start
            values["cpu_seconds"][number] = time.process_time() - busy
            values["loss"][number] = loss
            values["gradient_norm"][number] = float(measured.gradient_norm)
            values["learning_rate"][number] = float(rate(step))
            values["rows"][number], values["length"][number] = batch.tokens.shape
            values["tokens"][number] = batch.mask.sum()
            if not np.isfinite(loss):
                raise ValueError(
                    f"the loss of step {step} is {loss}: the training diverged; lower "
                    "--learning_rate or --clip_norm, or lengthen --warmup_steps"
                )
        self.states.save(steps.stop, self.state)
        for name, recall in self.recalled().items():
            values[f"{name}_above_half"][-1] = recall.summary["above_half"]
            values[f"{name}_mean_probability"][-1] = recall.summary["mean_probability"]
        return (slice(steps.start, steps.stop),), values

    def recalled(self) -> dict[str, Recall]:
        """How the present state answers the facts that it is asked on the way."""
        job = self.job
        lm = trained_model(job.config, self.state.params, job.tokenizer, name="", dtype="float32")
        return {
            name: recall_of(lm, probes, budget_bytes=common.budget_bytes())
            for name, probes in self.questions.items()
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


def _work(training: _Training) -> list[common.Work]:
    steps, every = training.job.recipe.steps, training.job.save_every
    work = []
    for start in range(0, steps, every):
        group = range(start, min(start + every, steps))

        def measure(group: range = group) -> common.Values:
            return training.run(group)

        work.append(common.Work(f"steps {group[0]} to {group[-1]}", len(group), measure))
    return work
