"""What a drill would do, as it is printed."""

from __future__ import annotations

from controlplane.cli.drill.previews import preview_text


def test_a_preview_says_reach_traffic_routes_and_what_is_in_the_way() -> None:
    traffic = {"host": "reviews.shop", "virtual_services": ["shop/reviews"], "requests_per_s": 30.0, "percentage": 25.0}
    unknown = {"host": "ratings.shop", "virtual_services": [], "requests_per_s": 0.0, "percentage": None}
    preview: dict[str, object] = {
        "drill": "shop/one",
        "seconds": 20.0,
        "proxies": 4,
        "reaches": ["0: abort of 100 % of requests to reviews.shop, at 3 instances"],
        "measured": ["web -> reviews"],
        "traffic": [traffic, unknown],
        "warnings": ["nobody retries"],
        "refused": ["shop is labelled navarch.dev/drills: never"],
    }

    assert preview_text(preview).splitlines() == [
        "shop/one: 20.0 s, measured at 4 proxies",
        "  reaches   0: abort of 100 % of requests to reviews.shop, at 3 instances",
        "  measures  web -> reviews",
        "  traffic   reviews.shop has 30.0 requests a second, 25 % of all that proxies report",
        "            routed by VirtualService shop/reviews",
        "  traffic   of ratings.shop is not known: no proxy has reported any",
        "  warning   nobody retries",
        "  refused   shop is labelled navarch.dev/drills: never",
    ]
