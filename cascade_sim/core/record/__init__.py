"""What is written down about a step."""
