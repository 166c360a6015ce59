"""The paper's method, on the features of one frozen network.

| file | what it computes | source |
|---|---|---|
| `activation_update.py` | f' by back-propagating the edit, and the loss of the drawn slice | Eq. 2-3, Eq. 5-7 |
| `fusion_network.py`, `fusion_settings.py` | the fusion network phi_fusion(f, f') | Fig. 2c |
| `edit_fusion.py`, `attention_fusion.py` | those by which an edit speaks about every slice | ours |
| `trained_fusion.py` | a model's own networks | ours |
| `far_thresholds.py`, `far_labels.py` | how sure a network must be, and what it flips on which far slices | ours |
| `composition.py`, `edit_record.py` | near and far slices joined, over several edits | Eq. 4 |
| `stray_voxels.py`, `cuts.py` | islands, crumbs, cuts and one-voxel holes taken back | ours |
| `drawn_slices.py` | drawn slices in the network's axes, and what a window must decode to | II-B |
| `slice_update.py`, `updated_features.py` | Eq. 3 on one window, and what is kept of it | II-B |
| `near_slices.py` | near slices, decoded from updated features | Eq. 4 |
| `fusion_inputs.py`, `edit_description.py` | what the fusion network takes | II-C, ours |
| `far_slices.py`, `far_box.py` | far slices, decoded from fused features where labels may flip | Fig. 3 |
| `general_far.py`, `general_network.py` | far slices of a model without a fusion network | ours |
| `far_evidence.py`, `slice_readers.py`, `slice_probe.py`, `drawn_samples.py` | what that one takes | ours |
| `margins.py` | how sure a decode is, in a box | ours |
| `window.py`, `feature_cache.py` | what of the image is cached | II-A |
| `edit_propagation.py` | one edit, through all of these | Fig. 2 |

The measures (Eq. 8-11) are in `core/measures/accuracy.py`.
"""
