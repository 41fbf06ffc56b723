"""What is known about an answer, and how surely."""
