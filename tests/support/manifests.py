"""Small manifests for the edges."""

from __future__ import annotations


def service(name: str, port: object = 80) -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n  ports:\n  - port: {port}\n    name: http\n"
    )


def workload(name: str, app: str, address: str = "127.0.0.9") -> str:
    return (
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n"
        f"metadata: {{name: {name}, namespace: shop}}\nspec: {{address: {address}, labels: {{app: {app}}}}}\n"
    )


def selecting(name: str, app: str, port: int = 80) -> str:
    return f"{service(name, port)}  selector: {{app: {app}}}\n"
