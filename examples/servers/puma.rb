# puma says READY=1 itself (since version 6), and finds its socket by the address.
bind "tcp://127.0.0.1:8000"
workers 2
threads 4, 4
preload_app!
# A thread reads the request of its connection, and none is kept. Otherwise a stop closes
# connections whose request has not been read, new and kept ones.
queue_requests false
