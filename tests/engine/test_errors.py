"""The failure of an exchange: its row of the table, and its text for the log."""

from propylon.engine.errors import GatewayError
from propylon.failures import FAILURES


def test_an_error_knows_its_row() -> None:
    error = GatewayError("head.bad", "detail", log="log")
    assert (error.status, error.failure) == (502, FAILURES["head.bad"])
    assert str(error) == "head.bad: detail: log"
    assert str(GatewayError("head.bad")) == "head.bad"
    assert error.headers == {}
