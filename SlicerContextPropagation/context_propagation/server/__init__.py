"""`context-propagation serve`: sessions of several people on one GPU. FastAPI and uvicorn, extra [server].

From the inside out: `worker` does one thing at a time, `held_session` is one session and what it may do, `store` holds
all of them, `api` makes addresses of it, `guards` decide who may ask, and how much; `serving` starts uvicorn.
"""
