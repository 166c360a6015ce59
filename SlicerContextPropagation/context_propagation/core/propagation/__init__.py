"""The paper's method, on the features of one frozen network.

| file | what it computes | source |
|---|---|---|
| `activation_update.py` | f' by back-propagating the edit, and its loss | Eq. 2-3, Eq. 5-7 |
| `slice_update.py`, `updated_features.py` | the update of one window's drawn slice, and what is kept of it | Eq. 3 |
| `fusion_network.py` | the fusion network | Fig. 2c |
| `fusion_inputs.py`, `edit_description.py` | what the fusion network is shown | Fig. 2c, ours |
| `far_slices.py` | far slices, decoded from fused features | Fig. 3 |
| `composition.py` | near and far slices joined, over several edits | Eq. 4 |
| `window.py`, `feature_cache.py` | what of the image is cached | - |
| `edit_propagation.py` | one edit, through all of these | Fig. 2 |
"""
