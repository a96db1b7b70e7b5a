"""The kinds of telemetry.istio.io and extensions.istio.io."""
