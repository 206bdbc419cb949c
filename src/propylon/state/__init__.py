"""What policies keep beside single exchanges: counters, answers, sessions."""
