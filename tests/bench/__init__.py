"""The benchmark: simulated sidecars on a big mesh."""

from __future__ import annotations

import os

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # read when gRPC is imported; it logs a line for each connection that ends
