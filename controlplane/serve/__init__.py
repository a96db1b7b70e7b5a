"""The Envoy edge: discovery services over grpc.aio. It carries bytes and wakes who is concerned; what to say is decided in ``xds``."""
