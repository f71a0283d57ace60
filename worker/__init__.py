"""A worker process: which queues, workflows and activities it serves."""
