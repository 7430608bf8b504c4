"""What the protocol is: its specification, its schemas, and test vectors."""
