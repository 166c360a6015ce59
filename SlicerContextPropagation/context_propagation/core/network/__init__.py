"""One frozen network, cut in two at a decoder level: the seam `SplitNetwork`, and the ways to get one."""
