"""Facts to train tiny models on."""

from experiments.pretrain_bert.corpus import Statement

PLACES = ("Bern", "Oslo", "Rome", "Lima", "Cairo", "Saint Petersburg")
NAMES = [a + b for a in ("Ka", "Lo", "Mi", "Nu", "Pe") for b in ("ral", "ston", "vek", "wyn")]
TEMPLATES = ("{} was born in [Y].", "[Y] is the birthplace of {}.")


def facts() -> list[Statement]:
    """40 statements: 20 facts in two wordings."""
    return [
        Statement(template.format(name), PLACES[number % len(PLACES)], "made up")
        for number, name in enumerate(NAMES)
        for template in TEMPLATES
    ]
