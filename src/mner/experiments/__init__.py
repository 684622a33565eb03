"""Tables of experiments: what they ask for, run once, and shown beside what was published."""
