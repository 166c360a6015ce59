"""The image and where it lies: channels, orientation, boxes, slices, the map to the network's grid."""
