"""The dashboard as Grafana would ask it: its variables filled in, each of its queries apart."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .prometheus import WINDOW, Prometheus

FILE = Path(__file__).parent.parent.parent / "grafana" / "mirror.json"
RANGE = "2m"  # what is looked at; longer than any test takes


@dataclass(frozen=True)
class Query:
    """One line, or family of lines, of a panel."""

    panel: str
    name: str
    """What the legend says of it."""
    expression: str


def document() -> dict[str, Any]:
    """The dashboard as it stands in the file."""
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def panels() -> list[dict[str, Any]]:
    """Every panel that shows something; rows are headings."""
    return [panel for panel in document()["panels"] if panel["type"] != "row"]


def queries() -> list[Query]:
    """Every query of every panel, in their order, with its variables in it."""
    return [
        Query(panel["title"], target["legendFormat"], target["expr"])
        for panel in panels()
        for target in panel["targets"]
    ]


def filled(prometheus: Prometheus) -> list[Query]:
    """Every query as it is sent if all of every variable is chosen."""
    values = {"__rate_interval": WINDOW, "__range": RANGE}
    for variable in document()["templating"]["list"]:
        if variable["type"] == "query":
            values[variable["name"]] = _all_of(variable, prometheus, values)
    return [Query(query.panel, query.name, _substituted(query.expression, values)) for query in queries()]


def _all_of(variable: dict[str, Any], prometheus: Prometheus, values: dict[str, str]) -> str:
    asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
    assert asked is not None, variable["query"]
    found = prometheus.label_values(_substituted(asked[1], values), asked[2])
    assert found, f"the variable {variable['name']} has no values"
    return "|".join(found)


def _substituted(expression: str, values: dict[str, str]) -> str:
    filled = re.sub(r"\$(\w+)", lambda match: values[match[1]], expression)
    return filled
