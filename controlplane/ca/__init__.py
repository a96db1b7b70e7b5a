"""The certificate authority: keys, certificates, issuing, rotation; keeps secrets by identity and name. Empty until workloads have some."""
