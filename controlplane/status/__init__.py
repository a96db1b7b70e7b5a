"""What the control plane says back to users in Kubernetes: conditions and Events. Empty until objects come from there."""
