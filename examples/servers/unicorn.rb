# unicorn finds its socket by the address. It says nothing when it is ready: this does.
require "socket"

listen "127.0.0.1:8000"
worker_processes 2
preload_app true

before_fork do |server, worker|
  path = ENV["NOTIFY_SOCKET"]
  # The application is loaded: a broken one has ended before.
  if path && worker.nr == 0
    Socket.new(:UNIX, :DGRAM).send("READY=1", 0, Socket.pack_sockaddr_un(path.sub(/\A@/, "\0")))
  end
end
