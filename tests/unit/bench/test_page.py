"""What the benchmark makes of its figures."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

import pytest

from tests.bench.figures import ROWS, exponent, told
from tests.bench.page import Machine, beyond, page, plot
from tests.bench.runs import Plan, Run
from tests.bench.workload import Size

MACHINE = Machine(cores=2, processor="some", memory_gb=8.0, versions="Linux 6, Python 3.11", busy=0.1)
TABLE = Plan(group="table", size=Size(), also_of=("beside",))


def grown(name: str, figures: Sequence[float], sizes: Sequence[int] = (100, 1000, 10_000)) -> list[Run]:
    """Return runs of growing size, and what ``name`` was in each."""
    plans = (Plan(group="services", size=Size(proxies=100, services=services)) for services in sizes)
    return [Run(plan, "Go", {name: figure}) for plan, figure in zip(plans, figures, strict=True)]


@pytest.mark.parametrize(("power", "figures"), [(0.0, (5, 5, 5)), (1.0, (0.1, 1, 10)), (2.0, (1, 100, 10_000)), (0.5, (10, 31.6228, 100))])
def test_the_exponent_of_growth_is_the_slope_in_logarithms(power: float, figures: tuple[float, ...]) -> None:
    found = exponent(list(zip((100, 1000, 10_000), figures, strict=True)))

    assert found == pytest.approx(power, abs=1e-4)


def test_one_size_says_nothing_of_growth() -> None:
    assert exponent([(100, 3.0)]) is None
    assert exponent([(100, 3.0), (100, 4.0)]) is None
    assert exponent([(100, 0.0), (1000, 4.0)]) is None


@pytest.mark.parametrize(
    ("figure", "unit", "text"),
    [(3.14159, "s", "3.14 s"), (31.4159, "ms", "31.4 ms"), (2274.4, "ms", "2,274 ms"), (0, "", "0")],
)
def test_a_figure_has_as_many_digits_as_it_is_worth(figure: float, unit: str, text: str) -> None:
    assert told(figure, unit) == text


def test_the_page_has_each_row_that_was_measured_with_the_ratio_to_the_bare_server() -> None:
    run = Run(TABLE, "Go", {"connect_s": 3.0, "bare_connect_s": 2.0, "endpoint_last_ms": 30.0})

    text = page([run], MACHINE, 20)

    [connect] = [line for line in text.splitlines() if "500 proxies connect at once" in line]
    assert connect == f"| {ROWS[0].text} | 17.2 s | **3 s** | 2 s | 1.50 |  | {ROWS[0].target} |  |"
    assert "**30 ms**" in text
    assert "Loaded" not in text
    assert "VirtualService change, last of 500" not in text


def test_a_target_that_is_missed_is_marked_on_the_page_and_named() -> None:
    run = Run(TABLE, "Go", {"connect_s": 9.0, "bare_connect_s": 2.0})

    assert "| missed |" in page([run], MACHINE, 20)
    assert beyond([run]) == [f"{ROWS[0].text}: 9 s, to reach: {ROWS[0].target}"]


def test_on_a_slow_machine_the_ratio_to_the_bare_server_decides() -> None:
    assert beyond([Run(TABLE, "Go", {"connect_s": 9.0, "bare_connect_s": 6.0})]) == []


def test_what_is_to_be_flat_and_grows_is_missed() -> None:
    flat, growing = grown("database_new_service_ms", (1.0, 1.0, 1.1)), grown("database_new_service_ms", (0.2, 0.5, 1.9))

    assert beyond(flat) == []
    assert [each.partition(":")[0] for each in beyond(growing)] == ["a new Service, recomputed"]


def test_a_run_that_failed_is_named_with_what_it_has_found() -> None:
    run = Run(TABLE, "Go", {"connect_s": 3.0}, "endpoint: SwarmFault: 3 sidecars are still waiting")

    assert "3 sidecars are still waiting" in page([run], MACHINE, 20)
    assert "**3 s**" in page([run], MACHINE, 20)
    assert beyond([run]) == [f"not measured: {TABLE}: {run.failed}"]


def test_a_machine_that_was_busy_is_said_to_be() -> None:
    assert "**Loaded:**" in page([], Machine(2, "some", 8.0, "", busy=3.0), 20)


def test_the_diagram_is_an_image_with_a_line_for_each_figure() -> None:
    runs = grown("connect_s", (0.5, 2.0, 20.0)) + grown("endpoint_first_ms", (6.0, 6.1, 6.2))

    root = ET.fromstring(plot(runs))

    name = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{name}svg"
    assert len(root.findall(f"{name}polyline")) == 2
    assert len(root.findall(f"{name}circle")) == 6


def test_each_table_has_its_runs_by_size_and_what_can_be_compared() -> None:
    others = [
        Run(Plan(group="proxies", size=Size(proxies=proxies)), "Go", {"connect_s": 1.0, "endpoint_last_ms": 5.0}) for proxies in (1000, 1)
    ]
    runs = [Run(Plan(group="table", size=Size(), also_of=("proxies",)), "Go", {"connect_s": 2.0, "reconnect_s": 1.0}), *others]

    text = page([*runs, *grown("connect_s", (0.1, 1.0, 10.0))], MACHINE, 20)

    proxies = text.partition("## Growth with sidecars")[2].partition("##")[0].strip().splitlines()[2:]
    assert proxies[0] == "| | 1 sidecars | 500 sidecars | 1,000 sidecars |"
    assert [line.split(" | ")[0] for line in proxies[2:]] == ["| all connected and configured", "| endpoint change, last"]
    assert "| all connected and configured | 0.10 s | 1 s | 10 s | 1.00 |" in text
    assert "## Sidecar scoping" not in text
