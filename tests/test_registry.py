"""Every name that we register is found without importing us: nobody ever needs `--code`."""

import ast
import json
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# The entry-point group of each of spaCy's registries that we use, as `spacy.registry` names it.
GROUPS = {
    "architectures": "spacy_architectures",
    "batchers": "spacy_batchers",
    "scorers": "spacy_scorers",
    "misc": "spacy_misc",
    "losses": "thinc_losses",
    "displacy_colors": "spacy_displacy_colors",
}


def declared() -> dict[str, dict[str, str]]:
    """The entry points in setup.cfg: {group: {name: "module:object"}}."""
    parser = ConfigParser(delimiters=("=",))
    parser.optionxform = str
    parser.read(ROOT / "setup.cfg")
    config = ConfigParser(delimiters=("=",))
    config.optionxform = str
    sections = parser["options.entry_points"].items()
    config.read_string("\n".join(f"[{group}]\n{lines.strip()}" for group, lines in sections))
    return {group: dict(config[group]) for group in config.sections()}


def registered() -> set[tuple[str, str, str]]:
    """(group, name, "module:object") of every decorator in the package that registers a name."""
    found = set()
    for file in (ROOT / "spacy_btl").rglob("*.py"):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            for decorator in getattr(node, "decorator_list", []):
                call = ast.unparse(decorator)
                if match := re.match(r"(?:spacy\.)?registry\.(\w+)\('(.+?)'", call):
                    found.add((GROUPS[match[1]], match[2], f"{module}:{node.name}"))
                elif match := re.match(r"Language\.factory\('(.+?)'", call):
                    found.add(("spacy_factories", match[1], f"{module}:{node.name}"))
    return found


def test_every_registered_name_has_an_entry_point():
    names = registered()
    assert len(names) >= 10
    for group, name, target in names:
        assert declared()[group].get(name) == target


def test_registered_names_follow_the_convention():
    for group, name, _ in registered():
        if group != "spacy_factories":
            assert name.startswith("spacy_btl.")
            assert name.endswith(".v1")


RESOLVE = """
import json, sys
import spacy
from spacy.language import Language

groups, declared = json.loads(sys.argv[1]), json.loads(sys.argv[2])
nlp = spacy.blank("en")
found = {}
for registry, group in groups.items():
    for name in declared.get(group, {}):
        value = getattr(spacy.registry, registry).get(name)
        found[name] = f"{value.__module__}:{value.__name__}" if callable(value) else ""
for name in declared["spacy_factories"]:
    assert nlp.has_factory(name), name
    found[name] = nlp.get_factory_meta(name).factory
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def resolved() -> dict[str, str]:
    """What a fresh Python finds under each name, without importing spacy_btl."""
    arguments = [json.dumps(GROUPS), json.dumps(declared())]
    done = subprocess.run(
        [sys.executable, "-c", RESOLVE, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_every_entry_point_resolves_in_a_fresh_process(resolved):
    groups = declared()
    assert set(groups) == {*GROUPS.values(), "spacy_factories", "spacy_cli"}
    for group, entries in groups.items():
        for name, target in entries.items():
            if group == "spacy_factories":
                assert resolved[name] == name
            elif group in GROUPS.values() and resolved[name]:
                assert resolved[name] == target
    assert set(resolved) == {
        name for group, entries in groups.items() if group != "spacy_cli" for name in entries
    }


@pytest.mark.slow
def test_the_commands_are_there_for_every_user_of_spacy():
    done = subprocess.run(
        [sys.executable, "-m", "spacy", "btl", "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert done.returncode == 0, done.stderr
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert {"convert", "split", "stats", "calibrate", "evaluate"} <= listed
    assert "..." not in done.stdout.split("Commands:")[1]  # no help text is cut short


LOADED = """
import sys
for name in ("torch", "transformers", "spacy_transformers", "sklearn", "scipy"):
    sys.modules[name] = None  # importing it now fails
import spacy_btl.cli
print(*sorted(name for name in sys.modules if name.startswith("spacy_btl.")))
"""


@pytest.mark.slow
def test_loading_the_commands_loads_no_other_package_and_no_torch():
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    packages = {name.split(".")[1] for name in done.stdout.split()}
    assert packages == {"about", "cli", "errors", "fit"}  # of fit, what tells of its progress
