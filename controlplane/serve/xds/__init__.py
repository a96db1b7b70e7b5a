"""The streams of Envoys: one reader and one sender each, around a stream of `controlplane.xds`."""
