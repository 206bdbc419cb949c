"""A configuration in, its problems out: every file in `golden/` has both, with a line of dashes between them.

To write the second part anew: `PROPYLON_GOLDEN=write pytest tests/config/test_golden.py`, then read the difference.
"""

import os
from pathlib import Path

import pytest

from propylon.config.problems import ConfigError
from tests.support.config import load_text

CASES = sorted((Path(__file__).parent / "golden").glob("*.txt"))
LINE = "----------\n"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_configuration_has_these_problems(case: Path) -> None:
    text, _, expected = case.read_text().partition(LINE)
    with pytest.raises(ConfigError) as raised:
        load_text(text, "gateway.yaml", base_dir=Path("/etc/propylon"), environment={"HOST": "db"})
    found = f"{raised.value}\n"
    if os.environ.get("PROPYLON_GOLDEN") == "write":
        case.write_text(text + LINE + found)
    assert found == expected
