"""What a drill would do, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controlplane.untyped import items, text


def preview_text(preview: Mapping[str, object]) -> str:
    """Return the answer ``preview`` of a control plane as lines for a terminal."""
    return "\n".join(_lines(preview))


def _lines(preview: Mapping[str, object]) -> Iterator[str]:
    yield f"{text(preview, 'drill')}: {preview.get('seconds')} s, measured at {preview.get('proxies')} proxies"
    yield from (f"  reaches   {each}" for each in _texts(preview, "reaches"))
    yield from (f"  measures  {each}" for each in _texts(preview, "measured"))
    for traffic in items(preview, "traffic"):
        yield f"  traffic   {_share(traffic)}"
        if routes := _texts(traffic, "virtual_services"):
            yield f"            routed by VirtualService {', '.join(routes)}"
    yield from (f"  warning   {each}" for each in _texts(preview, "warnings"))
    yield from (f"  refused   {each}" for each in _texts(preview, "refused"))


def _share(traffic: Mapping[str, object]) -> str:
    host, rate, percentage = text(traffic, "host"), traffic.get("requests_per_s"), traffic.get("percentage")
    if not isinstance(rate, int | float) or not isinstance(percentage, int | float):
        return f"of {host} is not known: no proxy has reported any"
    return f"{host} has {rate:.1f} requests a second, {percentage:.0f} % of all that proxies report"


def _texts(data: Mapping[str, object], name: str) -> list[str]:
    values = data.get(name)
    return [str(value) for value in values] if isinstance(values, list) else []
