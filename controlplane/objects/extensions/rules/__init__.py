"""What the types of telemetry.istio.io and extensions.istio.io cannot say."""
