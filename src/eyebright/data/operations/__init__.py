"""What augmentation does to a batch, kind by kind; `eyebright.data.augment` puts it in order."""
