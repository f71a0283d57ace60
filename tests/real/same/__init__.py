"""SQL texts that are held against Flink itself: made here (`texts.py`), and asked of a bare gateway (`bare.py`)."""
