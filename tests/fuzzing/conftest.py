"""Lets tests import the fuzz targets, which are scripts here, and says how many inputs they tried."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "inputs tried":
                terminalreporter.write_line(f"inputs tried: {value}")
