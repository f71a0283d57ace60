"""What is read from SQL: its statements and names, the plans that Flink makes of it, and what these mean."""
