"""What the bridge does, one sentence a test."""
