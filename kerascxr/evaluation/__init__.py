"""What a run is worth: metrics computed from saved predictions, without TensorFlow."""
