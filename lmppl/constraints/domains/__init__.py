"""What texts of a domain may say: plans, queries, records."""
