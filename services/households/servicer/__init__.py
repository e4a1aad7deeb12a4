"""Households over gRPC, one file a gRPC service: translate, call one operation, translate back."""
