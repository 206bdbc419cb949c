"""Any bytes in: requests, or one clean refusal."""
