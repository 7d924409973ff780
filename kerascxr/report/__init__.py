"""What a person looks at: tables and figures made from plain data, without TensorFlow."""
