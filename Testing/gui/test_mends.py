"""What a real Slicer refused stays mended: a mend that is turned back is noticed by a test."""

from dataclasses import replace

import pytest

from turn_mends_back import MENDS, ROOT, failing_tests


@pytest.mark.parametrize("name", MENDS)
def test_each_mend_stands_where_the_script_looks_for_it(name):
    mend = MENDS[name]
    text = (ROOT / "SlicerContextPropagation" / mend.file).read_text("utf-8")

    assert text.count(mend.now) == 1
    assert all((ROOT / test.partition("::")[0]).is_file() for test in mend.tests)


@pytest.mark.long
@pytest.mark.parametrize("name", MENDS)
def test_nothing_fails_where_a_mend_stands(name):
    mend = MENDS[name]
    assert failing_tests(replace(mend, before=mend.now)) == []


@pytest.mark.long
@pytest.mark.parametrize("name", MENDS)
def test_a_mend_that_is_turned_back_is_noticed(name):
    assert failing_tests(MENDS[name]) != []
