"""What sources that follow a registry of services (Consul, etcd) have in common: one value for what is registered, one converter."""
