# unicorn below Panzer: it takes the socket that it was given, and says READY=1 when the last
# worker is forked.
require "socket"

count = Integer(ENV.fetch("WORKERS"))
worker_processes count
preload_app true
after_fork do |_, worker|
  path = ENV["NOTIFY_SOCKET"]
  if path && worker.nr == count - 1
    Socket.new(:UNIX, :DGRAM).send("READY=1", 0, Socket.pack_sockaddr_un(path.sub(/\A@/, "\0")))
  end
end
