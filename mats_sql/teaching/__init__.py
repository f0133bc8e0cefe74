"""What is shown gold: teachers, and the answers that supervised training learns from."""
