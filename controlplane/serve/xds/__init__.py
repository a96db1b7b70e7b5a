"""The streams of Envoys: one reader and one sender each around a machine of `controlplane.xds`."""
