"""What a trained model carries over to other data."""
