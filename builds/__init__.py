"""What jobs are made from: source by Git, jars by Maven, Python environments, and what was built, kept."""
