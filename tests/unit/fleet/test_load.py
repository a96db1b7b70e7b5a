"""What becomes of the reports of proxies about their traffic."""

from __future__ import annotations

from controlplane.fleet.load import MAX_CLUSTERS, OTHERS, LoadTotals, LocalityLoad, Traffic

CART = "outbound|80||cart.shop.svc.cluster.local"


def traffic(cluster: str = CART, locality: str = "west/1", requests: int = 100, errors: int = 2, under_way: int = 5) -> Traffic:
    return Traffic(cluster=cluster, locality=locality, requests=requests, errors=errors, under_way=under_way, seconds=10.0)


def test_reports_of_several_proxies_are_added_up_by_cluster_and_locality() -> None:
    loads = LoadTotals()
    loads.report("a", [traffic(), traffic(locality="east/1", requests=10, errors=0)], 1.0)
    loads.report("a", [traffic()], 11.0)
    loads.report("b", [traffic(requests=50, errors=0)], 2.0)

    assert loads.rows() == (
        LocalityLoad(
            cluster=CART, locality="east/1", proxies=1, requests=10, errors=0, requests_per_s=0, errors_per_s=0, latency_ms=5000.0
        ),
        LocalityLoad(
            cluster=CART, locality="west/1", proxies=2, requests=250, errors=4, requests_per_s=15.0, errors_per_s=0.2, latency_ms=600.0
        ),
    )
    assert [each.requests for each in loads.rows("b")] == [50]
    assert loads.reported() == {"a": 11.0, "b": 2.0}


def test_who_has_gone_is_forgotten_but_what_it_asked_stays_counted() -> None:
    loads = LoadTotals()
    loads.report("a", [traffic()], 1.0)

    loads.gone("a")

    assert loads.rows() == loads.rows("a") == ()
    assert loads.totals == {CART: (100, 2)}


def test_where_nothing_was_asked_there_is_no_latency() -> None:
    loads = LoadTotals()

    loads.report("a", [traffic(requests=0, errors=0, under_way=0)], 1.0)

    assert [each.latency_ms for each in loads.rows()] == [None]


def test_names_are_bounded_whatever_a_proxy_makes_up() -> None:
    loads = LoadTotals()

    loads.report("a", (traffic(f"{number}" + "x" * 1000) for number in range(MAX_CLUSTERS + 50)), 1.0)

    assert len(loads.totals) == MAX_CLUSTERS + 1
    assert loads.totals[OTHERS] == (50 * 100, 50 * 2)
    assert max(len(each.cluster) for each in loads.rows()) == 300
