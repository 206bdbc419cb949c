"""`${NAME}` in values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propylon.config.environment import EnvironmentProblem, substitute

VARIABLES = {"HOST": "db", "EMPTY": "", "NESTED": "${HOST}"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("${HOST}", "db"),
        ("http://${HOST}:80/${HOST}", "http://db:80/db"),
        ("${HOST:-other}", "db"),
        ("${MISSING:-other}", "other"),
        ("${MISSING:-}", ""),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY}", ""),
        ("${MISSING:-a:-b}", "a:-b"),
        ("${NESTED}", "${HOST}"),
        ("$${HOST}", "${HOST}"),
        ("$HOST $ {HOST}", "$HOST $ {HOST}"),
        ("$$HOST", "$$HOST"),
    ],
)
def test_a_reference_is_replaced(text: str, result: str) -> None:
    assert substitute(text, VARIABLES) == result


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${MISSING}", "the environment variable MISSING is not set"),
        ("${host}", "the environment variable host is not set"),
        ("${}", "is no reference to a variable"),
        ("${1A}", "is no reference to a variable"),
        ("${A-b}", "is no reference to a variable"),
        ("${HOST", "is no reference to a variable"),
        ("${ HOST }", "is no reference to a variable"),
    ],
)
def test_a_reference_without_a_value_is_refused(text: str, message: str) -> None:
    with pytest.raises(EnvironmentProblem, match=message):
        substitute(text, VARIABLES)


@given(st.text())
def test_any_text_is_replaced_or_refused(text: str) -> None:
    try:
        substitute(text, VARIABLES)
    except EnvironmentProblem:
        pass


@given(st.text())
def test_an_escaped_text_is_the_text(text: str) -> None:
    assert substitute(text.replace("${", "$${"), {}) == text
