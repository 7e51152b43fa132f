"""The pages of the API reference, from setup.cfg's entry points and the commands' own help."""

import inspect
from collections.abc import Sequence
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path
from typing import Any

import srsly
import typer
from spacy.language import Language
from thinc.api import Config

ROOT = Path(__file__).parent.parent

# The page of each group of entry points, its title, and what else a reader of it needs.
GROUPS = {
    "spacy_architectures": ("architectures", "Architectures", []),
    "thinc_losses": (
        "losses",
        "Losses",
        ["spacy_btl.losses.class_weights.class_weights", "spacy_btl.losses.base.TokenLoss"],
    ),
    "spacy_batchers": ("batchers", "Batchers", []),
    "spacy_scorers": ("scorers", "Scorers", ["spacy_btl.metrics.scorer.score_ner"]),
    "spacy_misc": ("search", "Search", ["spacy_btl.search.search.Search"]),
    "spacy_displacy_colors": ("colors", "Colours", []),
}
# What a program calls that does not use the command line, by the names in `spacy_btl`.
FUNCTIONS = (
    "convert",
    "split_corpus",
    "average",
    "ensemble",
    "calibrate",
    "tune",
    "guarantee_pipeline",
    "compile_pipeline",
    "add_context",
    "add_sections",
    "confidence",
    "assertions",
    "section",
    "Calibrator",
    "Settings",
    "top_neighbors",
    "evaluate",
    "annotate_file",
    "check_notes",
    "recalibrate",
    "recalibrate_unannotated",
    "suggest_notes",
    "pretrain_encoder",
    "pseudo_label",
    "annotate_dataframe",
    "export_hf",
    "import_hf",
)
INTRO = """\
What a program calls in place of the commands. The functions, losses and architectures of the
reference are importable from `spacy_btl`. In the examples, `Path` is `pathlib.Path`, `np` is numpy,
`nlp` a calibrated pipeline, `doc` what it makes of a note, and `examples` are predictions of it
beside gold annotation.
"""


def pages() -> dict[str, str]:
    """Every page, as markdown with mkdocstrings' blocks, by its place in the site."""
    groups = entry_points()
    found = {
        f"reference/{page}.md": _registered(group, title, groups[group], related)
        for group, (page, title, related) in GROUPS.items()
    }
    for name, target in groups["spacy_factories"].items():
        found[f"reference/{name}.md"] = _pipe(name, target)
    found["reference/python.md"] = _functions()
    found["reference/cli.md"] = _commands()
    return found


def entry_points() -> dict[str, dict[str, str]]:
    """The entry points in setup.cfg: {group: {name: "module.object"}}."""
    parser = ConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(ROOT / "setup.cfg")
    found = {}
    for group, lines in parser["options.entry_points"].items():
        pairs = (line.split(" = ") for line in lines.strip().splitlines())
        found[group] = {name: target.replace(":", ".") for name, target in pairs}
    return found


def _registered(
    group: str, title: str, entries: dict[str, str], related: Sequence[str] = ()
) -> str:
    parts = [f"# {title}\n"]
    for name, target in entries.items():
        parts.append(f"## `{name}`\n\n{_defaults(group, name, target)}::: {target}\n")
    parts += [_documented(target) for target in related]
    return "\n".join(parts)


def _defaults(group: str, name: str, target: str) -> str:
    """How a config names a function, with the defaults of its settings."""
    function = _resolve(target)
    if not callable(function):
        return ""
    settings = {
        key: parameter.default
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.default is not parameter.empty
    }
    registry = group.partition("_")[2]
    lines = [f'@{registry} = "{name}"']
    lines += [f"{key} = {srsly.json_dumps(value)}" for key, value in settings.items()]
    return _fenced("ini", "\n".join(lines))


def _documented(target: str) -> str:
    """A function or class under its full name, with its signature."""
    return f"::: {target}\n    options: {{show_root_heading: true, heading_level: 2}}\n"


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```\n\n"


def _resolve(target: str) -> Any:
    module, _, name = target.rpartition(".")
    return getattr(import_module(module), name)


def _pipe(name: str, target: str) -> str:
    """The settings of a pipe with their defaults, and the methods of its class."""
    made = inspect.signature(_resolve(target)).return_annotation.strip('"')
    default = Language.get_factory_meta(name).default_config or {}
    config = Config({"components": {name: {"factory": name, **default}}}).to_str()
    return (
        f"# `{name}`\n\n## Settings\n\n::: {target}\n\n"
        f"The defaults, as a config has them:\n\n{_fenced('ini', config)}"
        f"## Methods\n\n::: {target.rpartition('.')[0]}.{made}\n"
        "    options: {inherited_members: true}\n"
    )


def _functions() -> str:
    """What is imported from `spacy_btl`, and is not registered under a name."""
    targets = [f"spacy_btl.{name}" for name in FUNCTIONS]
    return "\n".join(["# Python\n", INTRO, *(_documented(target) for target in targets)])


def _commands() -> str:
    """What `--help` says of each command, as markdown."""
    from spacy_btl.cli import btl

    group = typer.main.get_command(btl)
    parts = ["# Command line\n"]
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        context = command.make_context(name, [], resilient_parsing=True)
        usage = " ".join(command.collect_usage_pieces(context))
        parts.append(f"## `btl {name}`\n")
        parts.append(_fenced("text", f"python -m spacy btl {name} {usage}"))
        parts.append(f"{inspect.cleandoc(command.help)}\n")
        rows = [_row(record) for p in command.params if (record := p.get_help_record(context))]
        parts.append("| argument | what it is |\n| --- | --- |\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _row(record: tuple[str, str]) -> str:
    """A row of a table. A bar in it would begin a new cell, in code too."""
    name, text = (" ".join(part.split()).replace("|", "&#124;") for part in record)
    return f"| <code>{name.replace('<', '&lt;')}</code> | {text} |"
