"""`python -m spacy btl bias-test`: which losses preserve the shares of the classes."""

import json
import shlex
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import groupby, product
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from wasabi import msg

from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace


class PerOption(StrEnum):
    """What --per takes."""

    token = "token"
    mention = "mention"


@btl.command("bias-test")
@exits_on_error
def bias_test_cli(
    corpus: Path = typer.Argument(
        ..., help="The .spacy file; its labels are replaced by random ones"
    ),
    output: Path = typer.Option(..., help="The folder for bias.json and bias.svg"),
    shares: list[str] = typer.Option(
        ["99/1", "90/10", "70/20/10", "corpus"],
        help="Percentages of the random labels, or the corpus's own",
    ),
    per: PerOption = typer.Option("token", help="Random labels per token, or types per mention"),
    config: Path | None = typer.Option(None, help="A training config (default: a small CNN)"),
    steps: int = typer.Option(100, min=1, help="Optimizer steps of each training"),
    seeds: int = typer.Option(2, min=1, help="Trainings of each loss and distribution"),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="The GPU, or -1 for the CPU"),
    force: bool = FORCE,
) -> None:
    """Test whether a loss preserves the shares of random labels.

    From random labels a network can learn only how frequent they are. Each loss is trained briefly
    on part of the documents. Its predictions on the others are compared with the shares in
    training.
    """
    from spacy.vocab import Vocab

    from spacy_btl.corpora.docbin import read_docs
    from spacy_btl.corpora.random_labels import read_shares
    from spacy_btl.evaluation.report import require_extra
    from spacy_btl.experiments.bias_summary import plot_bias, summarize
    from spacy_btl.experiments.bias_test import LOSSES, BiasTest, run_bias_test
    from spacy_btl.files import write_file
    from spacy_btl.gpu import use_gpu
    from spacy_btl.pipelines import base_name

    refuse_to_replace(output / "bias.json", output / "bias.svg", force=force)
    require_extra()  # before minutes of training
    use_gpu(gpu_id)
    docs = read_docs(corpus, Vocab())
    for drawn in shares:
        read_shares(drawn, docs, per.value)
    test = BiasTest(corpus, per.value, config, steps)
    runs = []
    for drawn, seed, loss in product(shares, range(seeds), LOSSES):
        msg.info(f"{drawn}, seed {seed}: {loss}")
        runs.append(run_bias_test(test, shares=drawn, loss=loss, seed=seed))
    summary = summarize(runs)
    print_summary(summary)
    settings: dict[str, Any] = {"shares": shares, "per": per.value, "steps": steps, "seeds": seeds}
    if config is not None:
        settings["config"] = base_name(str(config))
    command = _command(base_name(str(corpus)), settings)
    results = {"command": command, **settings, "losses": LOSSES, "summary": summary, "runs": runs}
    results = _rounded(results)
    write_file(output / "bias.json", (json.dumps(results, indent=1) + "\n").encode("utf-8"))
    write_file(output / "bias.svg", plot_bias(summary))
    msg.good(f"Wrote {output / 'bias.json'} and bias.svg")


def _command(corpus: str, settings: Mapping[str, Any]) -> str:
    """The command that gives the same results."""
    words = ["python", "-m", "spacy", "btl", "bias-test", corpus, "--output", "DIR"]
    for name, value in settings.items():
        for item in value if isinstance(value, list) else [value]:
            words += [f"--{name}", str(item)]
    return shlex.join(words)


def print_summary(summary: Sequence[Mapping[str, Any]]) -> None:
    """Print a table for each distribution, with a row per loss and a column per reading."""
    from spacy_btl.experiments.bias_test import READINGS

    console = Console(markup=False)
    for drawn, rows in groupby(summary, key=lambda row: row["drawn"]):
        table = Table("loss", *READINGS, box=None)
        for column in table.columns[1:]:
            column.justify = "right"
        for loss, readings in groupby(rows, key=lambda row: row["loss"]):
            cells = []
            for row in readings:
                cells.append(f"{row['share']['mean']:.1%} {row['tv']['mean']:.3f}")
            table.add_row(loss, *cells)
        share, chance = f"{row['empirical']:.1%}", f"{row['chance']:.3f}"
        console.print(f"\n{drawn}: {row['majority']} has {share} in training; chance {chance}")
        console.print(table)
    console.print(
        "\nEach cell: the share that the reading gives this class, and the total variation "
        "distance of all shares from those in training. Chance is the distance of the held-out "
        "labels."
    )


def _rounded(value: Any) -> Any:
    """Round all numbers to five decimals."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value
