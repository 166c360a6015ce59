"""One worker, one logic, timers, messages."""
