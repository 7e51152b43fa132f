"""Any maps come back as they were, and no damaged byte goes unnoticed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_btl.calibration.calibration_maps import ConfidenceMap, Maps, TokenMap
from spacy_btl.calibration.settings import Settings
from spacy_btl.errors import CalibratorError

POSITIVE = st.floats(1e-3, 1e6)
NOT_NEGATIVE = st.floats(0, 1e6)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SETTINGS = st.builds(
    Settings,
    n_neighbors=st.integers(1, 10**6),
    knn_weight=st.floats(0, 1),
    tau=NUMBERS | st.dictionaries(st.text(), NUMBERS, max_size=3),
    transition_weight=NOT_NEGATIVE,
)
MAPS = st.builds(
    Maps,
    st.builds(TokenMap, POSITIVE, POSITIVE, NOT_NEGATIVE),
    st.builds(
        ConfidenceMap, NOT_NEGATIVE, NOT_NEGATIVE, st.floats(-1e9, 1e9), st.integers(1, 10**9)
    ),
    SETTINGS,
)


@settings(max_examples=50)
@given(MAPS)
def test_any_maps_come_back_as_they_were(maps):
    assert Maps.from_bytes(maps.to_bytes(), where="here") == maps


@settings(max_examples=100)
@given(MAPS, st.data())
def test_any_damaged_byte_or_cut_is_an_error_or_changes_nothing(maps, data):
    whole = bytearray(maps.to_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans(), label="cut"):
        del whole[place:]
    else:
        whole[place] ^= data.draw(st.integers(1, 255))
    try:
        found = Maps.from_bytes(bytes(whole), where="here")
    except CalibratorError:
        return
    assert found == maps
