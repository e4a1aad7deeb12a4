"""Kubernetes: manifests for many machines, and the step that makes their Secrets."""
