"""Prompts that have nothing to do with the ones being controlled: what else does a shift do?"""

from negjax.errors import Argument, ArgumentError
from negjax.inputs.encoding import encode
from negjax.inputs.probes import Probes, check_asked
from negjax.inputs.tables import read_facts
from negjax.model.language_model import LanguageModel


def unrelated_facts(lm: LanguageModel, probes: Probes) -> Probes:
    """Shipped facts that have nothing to do with some prompts: one of each other relation.

    Relations of facts that are among the prompts are left out, and facts whose answer is one of the
    targets.

    Raises:
        ValueError: this model can be asked none of them.
    """
    check_asked(lm, probes)
    column = "prompt" if lm.config.causal else "masked"
    facts = read_facts(prompt_column=column)
    relations = read_facts(prompt_column=column, answer_column="relation").answers
    targets = {target.strip() for row in probes.targets for target in row}
    taken = {
        relation
        for prompt, relation in zip(facts.prompts, relations, strict=True)
        if prompt in probes.prompts
    }
    prompts, answers = [], []
    for prompt, answer, relation in zip(facts.prompts, facts.answers, relations, strict=True):
        if relation in taken or answer in targets:
            continue
        try:
            encode(lm, [prompt], [answer])
        except ValueError:
            continue
        taken.add(relation)
        prompts.append(prompt)
        answers.append(answer)
    if not prompts:
        raise ArgumentError(
            "this model's vocabulary holds none of the shipped facts; pass ",
            Argument("unrelated"),
            " to name other prompts",
        )
    return encode(lm, prompts, answers)
