"""What every command shares."""

import warnings

import pytest

from spacy_btl.cli._run import exits_on_error
from spacy_btl.errors import BtlWarning


@exits_on_error
def command() -> None:
    warnings.warn("The documents are few.", BtlWarning, stacklevel=1)
    warnings.warn("Something else.", RuntimeWarning, stacklevel=1)


@pytest.mark.filterwarnings("default")
def test_warnings_of_ours_are_a_line_and_others_stay_as_they_are(capsys):
    with pytest.warns(RuntimeWarning, match="Something else"):
        command()
    assert capsys.readouterr().err == "⚠ The documents are few.\n"
    with pytest.warns(BtlWarning):  # behind the command all is as before
        warnings.warn("Later.", BtlWarning, stacklevel=1)
