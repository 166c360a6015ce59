"""What both kinds of training share: labelled cases, processes, phantom cases, augmentation."""
