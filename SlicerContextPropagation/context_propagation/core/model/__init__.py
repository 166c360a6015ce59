"""A model folder as a `SegmentationModel`: preprocessing, networks and labels of nnU-Net, MONAI, PSNN or any module."""
