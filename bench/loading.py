"""How long a fresh process takes until it has a pipeline, beside the imports alone."""

import subprocess
import sys
from collections.abc import Callable

from bench.material import Setup
from bench.ratios import Case, Ratio, figures, in_turn, pairwise

IMPORTS = "import torch, transformers, spacy"
# transformers imports its parts when they are first asked for: these are the least that any
# pipeline with a BERT of spacy-transformers asks for.
PARTS = f"{IMPORTS}, spacy_transformers\nfrom transformers import AutoTokenizer, BertModel"


def load_over_imports(setup: Setup) -> Ratio:
    """`spacy.load` in a process, and a process that imports the libraries and ends."""
    gpu = f"\nspacy.require_gpu({setup.gpu_id})" if setup.gpu_id >= 0 else ""
    load = f"{IMPORTS}{gpu}\nspacy.load({str(setup.model_path)!r})"
    cases = {"load": _process(load), "imports": _process(IMPORTS), "parts": _process(PARTS)}
    taken = in_turn(cases, setup.repeats)
    sides = {"spacy.load": "load", IMPORTS: "imports", "the same and spacy-transformers": "parts"}
    return Ratio(
        pairwise(taken["load"], taken["imports"]),
        f"MiniLM pipeline from a folder; a fresh process each time, `{IMPORTS}` in both",
        {side: figures(taken[name]) for side, name in sides.items()},
    )


def _process(code: str) -> Case:
    return lambda: subprocess.run([sys.executable, "-c", code], check=True)


RATIOS: dict[str, Callable[[Setup], Ratio]] = {"load_over_imports": load_over_imports}
