"""The workloads of ``policy_world``, and the policy by which it is seen that an Envoy lives by the newest ones."""

from __future__ import annotations

MESH = """
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 9080}}, {{name: http-other, port: 9081}}, {{name: tcp, port: 9090}}]}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: web, namespace: shop}}
spec: {{address: {network}.11, labels: {{app: web, security.istio.io/tlsMode: istio}}, serviceAccount: web}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: web, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: web}}}}
  ingress:
  - {{port: {{number: 9080, protocol: HTTP, name: http}}, bind: {network}.11, captureMode: NONE, defaultEndpoint: 0.0.0.0:8000}}
  - {{port: {{number: 9081, protocol: HTTP, name: http-other}}, bind: {network}.11, captureMode: NONE, defaultEndpoint: 0.0.0.0:8000}}
  - {{port: {{number: 9090, protocol: TCP, name: tcp}}, bind: {network}.11, captureMode: NONE, defaultEndpoint: 0.0.0.0:8001}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: caller, namespace: elsewhere}}
spec:
  workloadSelector: {{labels: {{app: caller}}}}
  egress:
  - {{port: {{number: 15002, protocol: HTTP_PROXY, name: http-proxy}}, bind: {network}.12, captureMode: NONE, hosts: ["*/*"]}}
"""
MARKER = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: shop}}
spec: {{action: AUDIT, rules: [{{to: [{{operation: {{paths: [/nowhere]}}}}]}}]}}
"""
