"""How well a segmentation agrees with the truth (Eq. 8-11), and what an edit made worse."""
