"""The reference interpreter: plain numpy, slow, obviously right. It is the meaning of every op."""
