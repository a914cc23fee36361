"""Says how many inputs the fuzz targets tried."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "inputs tried":
                terminalreporter.write_line(f"inputs tried: {value}")
