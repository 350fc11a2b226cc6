"""Floor 6: findings rendered into files that people read. Renders; computes nothing."""
