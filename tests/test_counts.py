"""The imports and sizes of the package, by `make counts`."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COUNTS = runpy.run_path(str(ROOT / "scripts" / "counts.py"))


def test_imports_point_up_the_table_of_the_architecture_page_and_in_no_circle():
    assert len(COUNTS["order"](ROOT)) > 15
    assert COUNTS["upward_imports"](ROOT) == []
    assert COUNTS["import_circles"](ROOT) == []


@pytest.fixture
def tree(tmp_path) -> Path:
    """Two packages and a module, of which the table lists the packages."""
    for name, text in {
        "docs/architecture.md": "| `low/` | l |\n| `high/` | h |\n",
        "spacy_btl/__init__.py": "",
        "spacy_btl/about.py": "",
        "spacy_btl/other.py": "x = 1\n",
        "spacy_btl/low/__init__.py": "",
        "spacy_btl/low/one.py": "def f():\n    from spacy_btl.high import three\n",
        "spacy_btl/low/two.py": "import spacy_btl.low.one\nimport numpy\n",
        "spacy_btl/high/__init__.py": "",
        "spacy_btl/high/three.py": "from spacy_btl.low.two import x\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_an_upward_import_and_a_module_without_a_place_are_named(tree):
    assert COUNTS["upward_imports"](tree) == [
        "other is not in the table",
        "low.one imports high.three",
    ]


def test_a_circle_is_named_with_its_modules(tree):
    assert COUNTS["import_circles"](tree) == ["high.three and low.one and low.two"]


def test_lines_are_counted_by_package(tree):
    assert COUNTS["package_lines"](tree) == {"": 1, "low": 4, "high": 1}
