"""The source ``etcd``: services whose instances register themselves by keys below a prefix."""
