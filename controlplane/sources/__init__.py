"""Where objects come from: each source yields Changes, a batch at a time; the first batch is all there is."""
