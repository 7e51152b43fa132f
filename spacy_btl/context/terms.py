"""English terms of the assertions, for negspacy's algorithm.

A term acts on the mentions behind it (`preceding_negations`, as negspacy calls them) or before it
(`following_negations`), up to the end of the sentence or a term of `termination`. A term that lies
in one of `pseudo_negations` does not act. What ConText (Harkema et al. 2009, doi
10.1016/j.jbi.2009.05.002) adds to NegEx is that other assertions have such terms, too.
"""

from spacy_btl.about import how_to_install
from spacy_btl.context.assertions import OTHER
from spacy_btl.errors import PipelineError

Terms = dict[str, list[str]]

BREAKS = [";", "but", "however", "although", "though", "except"]
YEARS = range(1930, 2036)
RELATIVES = [
    *("aunt", "aunts", "brother", "brothers", "children", "cousin", "cousins", "dad", "daughter"),
    *("daughters", "father", "grandfather", "grandmother", "grandparents", "husband", "mom"),
    *("mother", "mum", "nephew", "niece", "parent", "parents", "partner", "sibling", "siblings"),
    *("sister", "sisters", "son", "sons", "twin", "uncle", "uncles", "wife"),
]
# What a relative has, and not what a relative says or saw.
BORNE = [
    *("also", "carried", "carries", "developed", "died", "had", "has", "have", "lost", "need"),
    *("needed", "suffered", "suffers", "takes", "took", "treated", "underwent", "went", "with"),
    *("wore"),
]

NEGATED = {
    "pseudo_negations": [
        *("cannot be excluded", "cannot be ruled out", "cannot exclude", "cannot rule out"),
        *("could not be excluded", "not excluded", "not respond", "not responded"),
        *("no difference", "no time", "with and without", "with or without", "without a break"),
        *("without complication", "without complications", "without delay", "without incident"),
        *("without trouble", "without waiting"),
    ],
    "preceding_negations": [
        *("excluded", "excludes", "held off", "hold off on", "instead of", "neither", "nor"),
        "rather than",
    ],
    "following_negations": [
        *("never", "not done", "not given", "not indicated", "not needed", "was excluded"),
        *("were excluded", "withheld"),
    ],
    "termination": [
        *(";", "and he", "and her", "and his", "and she", "because", "only", "so", "whereas"),
        "while",
    ],
}
UNCERTAIN = {
    "pseudo_negations": [],
    "preceding_negations": [
        *("?", "appears to be", "assumed to be", "cannot exclude", "cannot rule out"),
        *("concern for", "concerning for", "could be", "could represent", "likely", "looks like"),
        *("may be", "may represent", "might be", "might represent", "most in keeping with"),
        *("possible", "possibly", "presumed", "probable", "probably", "query", "question of"),
        *("seems to be", "sounds like", "suggesting", "suggestive of", "suggests", "suspect"),
        *("suspected", "suspicion of", "suspicious for", "suspicious of", "taken to be"),
        "thought to be",
    ],
    "following_negations": [
        *("assumed", "cannot be excluded", "cannot be ruled out", "could not be excluded"),
        *("is likely", "is possible", "less likely", "not excluded", "quite possible"),
        *("suspected", "until proved otherwise", "until proven otherwise"),
        *("until shown otherwise", "very likely"),
    ],
    "termination": [*BREAKS, ", and", ", as", ", so"],
}
HISTORICAL = {
    "pseudo_negations": [
        *("day history", "hour history", "month history", "week history", "year history"),
        *("family history", "history of present", "no history", "no known history"),
    ],
    "preceding_negations": [
        *("childhood", "earlier", "h/o", "history of", "hx of", "past history"),
        *("past medical history", "pmh", "pmhx", "previous", "previously", "prior", "s/p"),
        *("status post", "treated for"),
    ],
    "following_negations": [
        *("as a child", "in childhood", "in the past", "last month", "last year", "years ago"),
        *(f"in {year}" for year in YEARS),
    ],
    "termination": [
        *BREAKS,
        *(",", "admitted", "and no", "and takes", "now", "on", "presented", "presents", "takes"),
        "with",
    ],
}
HYPOTHETICAL = {
    "pseudo_negations": [],
    "preceding_negations": [
        *("advise", "advised to", "at risk of", "await", "awaiting", "booked for", "consider"),
        *("down for", "due for", "for consideration of", "high risk of", "i will", "if"),
        *("in case of", "in the event of", "increased risk of", "listed for", "offered"),
        *("plan for", "plans", "recommend", "recommended", "request", "return for", "risk of"),
        *("should", "suggest", "to avoid", "to discuss", "to exclude", "to prevent", "unless"),
        *("waiting list for", "watch for", "we will", "whenever", "will be", "will do"),
        *("will have", "would suggest"),
    ],
    "following_negations": [
        *("arranged", "booked", "could be considered", "is planned", "is recommended"),
        *("is suggested", "may be considered", "on standby", "requested for"),
        *("should be considered", "to be considered", "to follow", "to hand", "tomorrow"),
        *("under discussion", "will be"),
    ],
    "termination": [*BREAKS, ", so"],
}
OF_OTHERS = {
    "pseudo_negations": [],
    "preceding_negations": [
        *("family history", "family hx", "fhx"),
        *(f"{relative} {verb}" for relative in RELATIVES for verb in BORNE),
    ],
    "following_negations": ["in the family", "runs in the family"],
    "termination": [*BREAKS, ", and", "he", "herself", "himself", "patient", "pt", "she", "we"],
}


def english_assertion_terms() -> dict[str, Terms]:
    """The terms of each assertion. Those of negation are negspacy's `en_clinical` and ours, without
    "free", which is part of words like "pain-free".

    RAISES: PipelineError, without negspacy.
    """
    try:
        from negspacy.termsets import termset
    except ImportError:
        raise no_negspacy() from None
    negated = termset("en_clinical")
    negated.add_patterns(NEGATED)
    negated.remove_patterns({"following_negations": ["free"]})
    return {
        "negated": negated.get_patterns(),
        "uncertain": UNCERTAIN,
        "historical": HISTORICAL,
        "hypothetical": HYPOTHETICAL,
        OTHER: OF_OTHERS,
    }


def no_negspacy() -> PipelineError:
    """The error for an environment without negspacy."""
    return PipelineError(
        f"Assertions need negspacy: install it {how_to_install('context')}, or load the pipeline "
        "without `btl_context`."
    )
